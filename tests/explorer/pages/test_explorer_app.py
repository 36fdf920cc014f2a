"""Routes: each page is whole, says what the index says, and nothing of a request reaches the disk."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from audiosae_steer.explorer.pages.explorer_app import explorer_app, explorer_site
from audiosae_steer.explorer.pages.explorer_site import View

PAGES = (
    "/",
    "/index.html",
    "/?layer=all&words=rain",
    "/feature/4/8.html",
    "/feature/4/15.html",
    "/map/4.html",
    "/clips/3.html",
    "/clip/4/3.html",
    "/notes.html",
    "/quiz.html?layer=4&feature=8&seed=1",
    "/quiz.html?layer=4&feature=8&seed=1&shown=1",
)


def state_of(page: str):
    return json.loads(re.search(r'id="state">(.*?)</script>', page, re.DOTALL).group(1))


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_whole_and_bear_strict_headers(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("</html>")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    # no inline script, handler or style
    assert re.findall(r"<script(?! type=\"module\" src=)(?! type=\"application/json\")", answer.text) == []
    assert re.findall(r"<[^>]*\s(on\w+|style)=", answer.text) == []
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text) == []


@pytest.mark.parametrize("path", PAGES)
def test_links_and_files_of_a_page_are_there(client, path):
    links = set(re.findall(r'(?:href|src)="([^"#]+)"', client.get(path).text))
    seen = set()
    for link in links:
        link = link.replace("&amp;", "&")
        if not link.startswith("data:") and (kind := re.sub(r"\d+", "0", link)) not in seen:
            seen.add(kind)
            assert client.get(str(client.base_url.join(path).join(link))).status_code == 200, link


def test_imports_of_modules_are_there(client):
    for module in ("feature", "features", "map", "clip", "notes", "quiz"):
        text = client.get(f"/static/{module}.js").text
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert client.get(f"/static/{name}").headers["content-type"].startswith("text/javascript"), name


def test_a_feature_page_says_what_the_index_says(client, index):
    page = client.get("/feature/4/8.html?clip=3&at=1.5").text
    examples = index.examples(4, 8)
    state = state_of(page)
    assert [each["key"] for each in state["data"]] == [str(each.clip.id) for each in examples]
    for heading in ("Strongest", "At 90 %", "Just above the threshold", "Near misses"):
        assert heading in page
    assert "End of text becomes more likely" in page
    assert all(f'href="../../feature/4/{each.feature}.html"' in page for each in index.neighbours(4, 8)[:10])


def test_the_address_says_which_clip_is_shown_large(client, index):
    clip = index.examples(4, 8)[7].clip
    page = client.get(f"/feature/4/8.html?clip={clip.id}&at=0.5").text
    assert f'<h2 id="stage-title">{clip.name}</h2>' in page
    assert 'aria-valuenow="0.50"' in page
    for odd in (
        "?clip=x",
        "?clip=-1",
        "?clip=99999999999999999999",
        "?at=nan",
        "?at=inf",
        "?at=-3",
        "?at=1e999",
        "?clip=",
    ):
        assert client.get(f"/feature/4/8.html{odd}").status_code == 200


def test_a_silent_feature_has_a_page(client):
    assert "It never fired on these clips" in client.get("/feature/4/15.html").text


@pytest.mark.parametrize(
    "path",
    ["/feature/4/64.html", "/feature/9/1.html", "/map/9.html", "/map/9.json", "/clips/9.html", "/clip/4/999.html",
     "/clip/9/1.html", "/sound/999.flac", "/mel/0.png", "/nothing", "/feature/4/8", "/feature/-4/8.html",
     "/sound/99999999999999999999999.flac", "/feature/4/99999999999999999999999.html"],
)  # fmt: skip
def test_what_is_not_there_is_said_to_be(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "layer=3",
        "layer=77",
        "layer=all",
        "layer=all&words=rain&on=dog&clip=3&sort=label",
        "words=rain",
        "words=%22%27*(",
        "on=dog&off=rain",
        "on=nonsense",
        "clip=3",
        "clip=zzz",
        "least=1&most=5",
        "least=nan",
        "sort=label&reverse=1",
        "sort=nonsense",
        "page=99",
        "page=-1",
        "silent=1",
        "words=" + "x" * 3000,
    ],
)
def test_searches(client, query):
    assert client.get(f"/?{query}").status_code == 200


def test_a_search_keeps_what_was_asked(client):
    page = client.get("/?layer=4&words=rain&on=dog&least=0.5&sort=label&reverse=1").text
    assert 'value="rain"' in page
    assert "<option selected>dog</option>" in page
    assert 'value="0.5"' in page
    assert '<option value="label" selected>' in page
    assert 'name="reverse" value="1" checked' in page


def test_all_layers_are_searched_at_once(client, index):
    page = client.get("/?layer=all&words=rain&sort=density").text
    rows = re.findall(r'href="\./feature/(\d)/(\d+)\.html" class="number">\2</a></th>\s*<td>\1</td>', page)
    table = index.features()
    rained = [row for row in range(len(table)) if table.label(row) == "rain"]
    assert {(int(layer), int(feature)) for layer, feature in rows} >= {
        (int(table.layer[row]), int(table.feature[row]))
        for row in sorted(rained, key=lambda row: -table.density[row])[:3]
    }
    assert {layer for layer, _ in rows} == {"3", "4"}
    assert '<input type="hidden" name="layer" value="all" />' in page
    assert 'aria-current="page">All layers</a>' in page
    assert "?layer=all&amp;sort=density&amp;page=2" in client.get("/?layer=all&sort=density").text
    assert "?layer=3&amp;words=rain&amp;sort=density" in page
    assert "<td>3</td>" not in client.get("/?layer=3&words=rain").text


def test_texts_of_an_index_are_never_markup(index):
    bad = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    with closing(sqlite3.connect(index.path)) as connection:
        connection.execute(
            "UPDATE clips SET recording = ?, label = ?, transcript = ?, source = ?, licence = ?", (bad,) * 5
        )
        connection.execute("UPDATE features SET label = ?", (bad,))
        connection.execute("UPDATE labels SET label = ?", (bad,))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'model'", (json.dumps(bad),))
        connection.execute("UPDATE meta SET value = ? WHERE key = 'labels'", (json.dumps([bad]),))
        effect = {"end": 1, "first": [bad, 1], "words": [[bad, 1]], "before": bad, "after": ""}
        connection.execute("UPDATE effects SET effect = ?", (json.dumps(effect),))
        connection.commit()
    client = TestClient(explorer_app(explorer_site(type(index)(index.path))), base_url="http://localhost")
    for path in PAGES:
        page = client.get(path).text
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path


def test_a_damaged_index_is_said_to_be(index, site):
    with closing(sqlite3.connect(index.path)) as connection:
        connection.execute("UPDATE examples SET curve = x'00'")
        connection.commit()
    answer = TestClient(explorer_app(site), base_url="http://localhost").get("/feature/4/8.html")
    assert answer.status_code == 500
    assert "may be damaged" in answer.text


@pytest.mark.parametrize(
    "path",
    ["/static/../explorer_app.py", "/static/%2e%2e/explorer_app.py", "/static/..%2f..%2f..%2fpyproject.toml",
     "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/vendor/../../pages/notes_file.py", "/static/",
     "/static/templates/base.html", "/sound/..%2f..%2fmade.sqlite", "/mel/1.png%00.html", "/sound/1.flac/../../x",
     "/static/..\\explorer_app.py", "/notes/../made.sqlite", "/made.sqlite", "/made.notes.json"],
)  # fmt: skip
def test_no_path_reaches_the_disk(client, path):
    answer = client.get(path)
    assert answer.status_code == 404, answer.text[:100]
    assert "import" not in answer.text
    assert "root:" not in answer.text


def test_a_view_is_added_by_a_record(index):
    def hello(request):
        return PlainTextResponse("hello")

    view = View(
        "Live", lambda site, layer: f"live/{layer}.html", ("live",), [Route("/live/{layer:int}.html", hello)], live=True
    )
    client = TestClient(explorer_app(explorer_site(index, more=[view])), base_url="http://localhost")
    assert client.get("/live/4.html").text == "hello"
    assert '<a href="../../live/4.html">Live</a>' in client.get("/feature/4/8.html").text


def test_an_effect_is_titled_by_what_was_done(client):
    """`FeatureEffect.edit`: the feature's highest activation of all clips, on every frame."""
    assert "<h3>Set to its highest activation</h3>" in client.get("/feature/4/8.html").text
