"""The live pages and their JSON: whole, guarded, bounded, and errors told as such."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import pytest
from live_index import LAYER
from starlette.testclient import TestClient

from audiosae_steer.explorer.live.live_explorer import LiveExplorer
from audiosae_steer.explorer.live.own_clips import MAX_BYTES
from audiosae_steer.explorer.live.work_queue import BusyError, SupersededError
from audiosae_steer.explorer.pages.explorer_app import explorer_app, explorer_site
from audiosae_steer.io.shipped import checkpoints_dir

SESSION = "a-page-of-tests"
EDIT = {"layer": LAYER, "kind": "scale", "feature": 36, "factor": 0}


def fan() -> bytes:
    return (checkpoints_dir() / "clips" / "fan.flac").read_bytes()


def state_of(page: str) -> Any:
    return json.loads(re.search(r'id="state">(.*?)</script>', page, re.DOTALL).group(1))


@pytest.mark.parametrize(
    "path", ["/own.html", "/steer.html", f"/steer.html?layer={LAYER}&edit=x", "/own.html?layer=99"]
)
def test_pages_are_whole_and_bear_strict_headers(live_client: TestClient, path: str) -> None:
    answer = live_client.get(path)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("</html>")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert re.findall(r"<script(?! type=\"module\" src=)(?! type=\"application/json\")", answer.text) == []
    assert re.findall(r"<[^>]*\s(on\w+|style)=", answer.text) == []
    assert state_of(answer.text)["output"] == "text"
    for link in set(re.findall(r'(?:href|src)="(\./static/[^"]+)"', answer.text)):
        assert live_client.get(link.removeprefix(".")).status_code == 200, link


def test_pages_are_in_the_navigation_and_features_can_be_added(live_client: TestClient, live_pages: Any) -> None:
    page = live_client.get(f"/feature/{LAYER}/36.html").text
    assert 'href="../../steer.html' in page
    assert 'id="add-to-recipe"' in page
    plain = TestClient(explorer_app(explorer_site(live_pages.index)), base_url="http://127.0.0.1:7341")
    without = plain.get(f"/feature/{LAYER}/36.html").text
    assert "steer.html" not in without
    assert "add_to_recipe.js" not in without
    assert plain.get("/steer.html").status_code == 404


def test_an_own_clip_goes_through(live_client: TestClient) -> None:
    kept = live_client.post("/live/clip?name=..%2F..%2Ffan.flac", content=fan()).json()
    assert (kept["name"], kept["left_out"]) == ("fan.flac", 0.0)
    sound = live_client.get(f"/live/own/{kept['own']}.wav", headers={"range": "bytes=0-3"})
    assert (sound.status_code, sound.content) == (206, b"RIFF")
    assert live_client.get(f"/live/own/{kept['own']}.png").content.startswith(b"\x89PNG")
    found = live_client.post("/live/listen", json={"session": SESSION, "own": kept["own"], "layer": LAYER})
    assert found.status_code == 200
    assert found.json()["features"]


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/live/steer", {"clip": 1}, 400),
        ("/live/steer", {"session": SESSION, "clip": 999}, 400),
        ("/live/steer", {"session": SESSION, "clip": 1 << 40}, 400),
        ("/live/steer", {"session": SESSION, "own": "gone", "edits": [EDIT]}, 400),
        ("/live/listen", {"session": SESSION, "clip": 1, "layer": 7}, 400),
        ("/live/listen", {"session": SESSION, "clip": 1, "layer": 1 << 70}, 400),
        ("/live/recipe", {"session": SESSION, "name": "../x", "edits": [EDIT]}, 400),
        ("/live/recipe", {"session": SESSION, "name": "x", "edits": [EDIT], "judged": [{"name": 1}]}, 400),
    ],
)
def test_what_is_asked_wrongly_is_told(live_client: TestClient, path: str, content: Any, status: int) -> None:
    answer = live_client.post(path, json=content)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_what_is_no_json_and_no_sound_is_told(live_client: TestClient) -> None:
    for path, body in (("/live/steer", b"{"), ("/live/listen", b"\xff"), ("/live/clip", b"MZ"), ("/live/clip", b"")):
        answer = live_client.post(path, content=body)
        assert answer.status_code == 400, path
        assert answer.json()["error"]


@pytest.mark.parametrize("path", ["/live/own/nothing.wav", "/live/own/..%2f..%2fetc.png", "/live/made/x.wav"])
def test_sounds_are_had_by_their_names_alone(live_client: TestClient, path: str) -> None:
    assert live_client.get(path).status_code == 404


def test_features_have_a_range(live_client: TestClient) -> None:
    found = live_client.get(f"/live/feature/{LAYER}/36.json").json()
    assert found["peak"] > 0
    assert live_client.get(f"/live/feature/{LAYER}/99999.json").status_code == 404


@pytest.mark.parametrize("path", ["/live/clip", "/live/steer", "/live/listen", "/live/recipe"])
def test_other_sites_are_refused(live_client: TestClient, path: str) -> None:
    assert live_client.post(path, content=b"{}", headers={"origin": "http://evil.example"}).status_code == 403
    assert live_client.post(path, content=b"{}", headers={"host": "evil.example"}).status_code == 403
    assert live_client.post(path, content=b"{}", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert live_client.get(path).status_code == 405


def test_bodies_are_bounded(live_client: TestClient) -> None:
    told = {"content-length": str(MAX_BYTES + 1)}
    assert live_client.post("/live/clip", content=b"x", headers=told).status_code == 413
    assert live_client.post("/live/steer", content=b" " * (300 << 10)).status_code == 413


@pytest.mark.parametrize(
    ("error", "status"), [(SupersededError("newer"), 409), (BusyError("many"), 429), (RuntimeError("secret"), 500)]
)
def test_waiting_and_breaking_have_their_own_answers(
    live_client: TestClient, explorer: LiveExplorer, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def refuse(content: Any) -> None:
        raise error

    monkeypatch.setattr(explorer, "steer", refuse)
    answer = live_client.post("/live/steer", json={"session": SESSION, "clip": 1})
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 429)


def test_a_recipe_comes_as_a_file(live_client: TestClient) -> None:
    content = {"session": SESSION, "name": "less-36", "edits": [EDIT], "judged": [{"name": "fan", "rating": "same"}]}
    alone = live_client.post("/live/recipe?as=json", json=content)
    assert alone.headers["content-disposition"] == 'attachment; filename="less-36.json"'
    assert alone.headers["x-needs"] == "encoder-4.safetensors"
    assert alone.json()["provenance"]["judged_on"] == [{"clip": "fan", "rating": "same"}]
    bundle = live_client.post("/live/recipe?as=zip", json=content)
    assert bundle.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(bundle.content)) as archive:
        assert archive.read("less-36/recipe.json") == alone.content
