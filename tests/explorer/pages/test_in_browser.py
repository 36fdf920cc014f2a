"""The pages in a browser: seen, heard, walked by keyboard, and judged by axe; nothing is asked of other hosts."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from made_index import made_index

from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.pages.explorer_app import explorer_app, explorer_site
from audiosae_steer.explorer.pages.explorer_server import listening
from audiosae_steer.explorer.pages.static_site import write_single, write_static
from audiosae_steer.explorer.pages.views.quiz_view import quiz_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
VIEWS = {
    "features": "/?layer=4", "nothing found": "/?layer=4&words=unheardof", "feature": "/feature/4/8.html",
    "silent feature": "/feature/4/15.html", "map": "/map/4.html", "clips": "/clips/4.html", "clip": "/clip/4/3.html",
    "notes": "/notes.html", "message": "/nothing", "all layers": "/?layer=all&words=rain",
    "quiz": "/quiz.html?layer=4&feature=8&seed=1", "quiz told": "/quiz.html?layer=4&feature=8&seed=1&picked=2&shown=1",
}  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(index_file, tmp_path_factory):
    copy = shutil.copy(index_file, tmp_path_factory.mktemp("browser") / "made.sqlite")
    return explorer_site(Index(copy))


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    bound = listening("127.0.0.1", 0)
    config = uvicorn.Config(explorer_app(site), log_level="warning", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    bound.close()


class Watched:
    """A page, with what it asked of other hosts and what went wrong in it."""

    def __init__(self, browser, address: str, **options) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.page, self.outside, self.wrong = self.context.new_page(), [], []
        self.page.set_default_timeout(20_000)
        self.address = address
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.wrong.append(message.text))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.outside.append(url)

    def open(self, path: str):
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")
        return self.page


@pytest.fixture
def watched(browser, address) -> Iterator[Watched]:
    made = Watched(browser, address)
    yield made
    made.context.close()
    assert made.outside == []
    assert [each for each in made.wrong if "404" not in each] == []


def serious(page) -> list[str]:
    """Rules of axe that a page breaks seriously, with what breaks them."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in found if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    ("scheme", "views"), [("light", list(VIEWS)), ("dark", ["features", "feature", "clip", "map", "quiz told"])]
)
def test_no_view_has_a_serious_fault_of_access_nor_scrolls_sideways(browser, address, scheme, views):
    watched = Watched(browser, address, color_scheme=scheme)
    faults, wide, wrong = {}, [], []
    for name in views:
        page = watched.open(VIEWS[name])
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wide.append((name, width))
        wrong += [each for each in watched.wrong if "404" not in each]
        if broken := serious(page):
            faults[name] = broken
        watched.wrong.clear()  # axe puts styles into the page, which its policy refuses
    watched.context.close()
    assert faults == {}
    assert (wide, wrong, watched.outside) == ([], [], [])


def stops(page) -> set[str]:
    """Elements that Tab comes to, from the page's beginning to its end."""
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); window.seen = 0")
    found: list[str] = []
    for _ in range(400):
        page.keyboard.press("Tab")
        name = page.evaluate("""() => {
            const now = document.activeElement;
            if (now === document.body) { return ""; }
            now.dataset.stop = now.dataset.stop || String(window.seen += 1);
            return now.dataset.stop; }""")
        if not name or name in found:
            break
        found.append(name)
    return set(found)


@pytest.mark.parametrize("view", ["features", "feature", "map", "clip", "notes", "quiz"])
def test_the_keyboard_reaches_everything(watched, view):
    page = watched.open(VIEWS[view])
    stops(page)
    missed = page.evaluate("""() => [...document.querySelectorAll(
            "a[href], button, input, select, textarea, [tabindex='0']")]
        .filter((each) => each.type !== "hidden" && !each.disabled && each.type !== "radio" && each.checkVisibility()
            && !each.dataset.stop).map((each) => each.outerHTML.slice(0, 100))""")
    assert missed == []


def shown(page) -> tuple[float, float]:
    """Value and time that the page tells of the cursor."""
    value, at = re.fullmatch(r"([\d.]+) at ([\d.]+) s", page.locator("#stage-value").inner_text()).groups()
    return float(value), float(at)


def test_sound_plays_and_the_value_follows_the_curve(watched, index_file):
    index = Index(index_file)
    page = watched.open("/feature/4/8.html")
    example = index.examples(4, 8)[0]
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.getElementById('stage-sound').currentTime > 0")
    seen = []
    for _ in range(8):
        page.wait_for_timeout(60)
        seen.append(shown(page))
    assert page.evaluate("document.getElementById('stage-sound').currentTime") > 0
    assert len({at for _, at in seen}) > 2
    assert [at for _, at in seen] == sorted(at for _, at in seen)
    for value, at in seen:
        frame = min(int(at * 50 + 1e-6), len(example.curve) - 1)
        near = example.curve[max(frame - 1, 0) : frame + 2]  # the time is told in hundredths
        assert near.min() - 0.01 <= value <= near.max() * 1.01 + 0.01
    page.get_by_role("button", name="Pause").click()
    # seeking: by the address of parts of the sound
    assert page.evaluate("document.getElementById('stage-sound').seekable.end(0)") > 1
    # the waveform is drawn
    assert page.locator("#stage-wave canvas").count() > 0
    index.close()


def test_a_clip_is_walked_and_rated_by_keyboard(watched, site):
    page = watched.open("/feature/4/8.html")
    examples = site.index.examples(4, 8)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator("#stage-title").inner_text() == examples[2].clip.name
    page.keyboard.press("k")
    assert page.locator("#stage-title").inner_text() == examples[1].clip.name
    assert page.locator(".thumb[aria-current]").count() == 1
    before = shown(page)[1]
    page.keyboard.press("ArrowRight")
    assert shown(page)[1] == pytest.approx(min(before + 0.1, examples[1].clip.seconds), abs=0.011)
    with page.expect_response(re.compile("rating")):
        page.keyboard.press("4")
    page.locator("#stage-rating input:checked").wait_for(state="attached")
    assert page.locator("#stage-rating input:checked").get_attribute("value") == "4"
    with page.expect_response(re.compile("rating")):
        page.keyboard.press("0")
    page.wait_for_function("() => !document.querySelector('#stage-rating input:checked')")
    page.keyboard.press(" ")
    page.wait_for_function("() => !document.getElementById('stage-sound').paused")
    page.keyboard.press(" ")
    page.wait_for_function("() => document.getElementById('stage-sound').paused")
    # typing in a field is typing
    page.locator("#own-label").fill("")
    page.locator("#own-label").press_sequentially("j k 3")
    assert page.locator("#own-label").input_value() == "j k 3"
    assert page.locator("#stage-title").inner_text() == examples[1].clip.name
    page.get_by_role("button", name="Keep").click()
    page.get_by_text("Kept.").wait_for()
    assert site.notes.of(4, 8).label == "j k 3"


def test_the_address_restores_clip_and_cursor(watched, site):
    page = watched.open("/feature/4/8.html")
    page.locator(".thumb").nth(5).click()
    page.locator("#stage-picture").focus()
    page.keyboard.press(" ")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.search.includes('at=0.30')")
    title = page.locator("#stage-title").inner_text()
    again = watched.context.new_page()
    again.goto(page.url)
    assert again.locator("#stage-title").inner_text() == title
    again.wait_for_function("() => document.getElementById('stage-value').textContent.includes('0.30 s')")
    assert again.locator("#stage-picture").get_attribute("aria-valuetext").startswith("0.30 seconds, activation")


def test_the_map_is_walked_by_arrows_and_opened(watched):
    page = watched.open("/map/4.html")
    canvas = page.locator("#map-canvas[data-ready]")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#map-now a").inner_text()
    for key in ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "+"):
        page.keyboard.press(key)
    assert page.locator("#around-list a").count() == 12
    chosen = page.locator("#map-now a").inner_text()
    assert first.startswith("Feature")
    page.locator("#mark").fill("rain")
    assert "marked" in page.locator("#marked").inner_text()
    assert "mark=rain" in page.url
    canvas.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/feature/4/"))
    assert page.locator("h1").inner_text().startswith(chosen.split(",")[0])


def test_the_map_opens_by_a_click(watched, site):
    page = watched.open("/map/4.html")
    page.locator("#map-canvas[data-ready]").wait_for()
    table = site.index.table(4)
    box = page.locator("#map-canvas").bounding_box()
    page.mouse.click(
        box["x"] + 22 + table.x[8] * (box["width"] - 44), box["y"] + 22 + table.y[8] * (box["height"] - 44)
    )
    page.wait_for_url(re.compile(r"/feature/4/8\.html"))


def test_a_clip_changes_its_feature_and_a_list_plays(watched):
    page = watched.open("/clip/4/3.html")
    assert page.locator(".timeline li").count() > 0
    page = watched.open("/?layer=4")
    button = page.locator("button.play").first
    button.click()
    page.wait_for_timeout(100)
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert button.get_attribute("aria-pressed") == "false"


def test_a_quiz_is_answered_by_keyboard_and_counted_once(watched, site):
    found = quiz_of(site, 4, 8, 1)
    firing = [asked.number for asked in found.asked if asked.fires]
    page = watched.open(VIEWS["quiz"])
    page.get_by_role("button", name="Play clip 1").click()
    page.wait_for_function("() => document.querySelector('[aria-label=\"Play clip 1\"]').ariaPressed === 'true'")
    for each in firing:
        page.keyboard.press(str(each))
    page.keyboard.press(str(firing[0]))
    assert page.locator("#quiz input:checked").count() == len(firing) - 1
    again = watched.context.new_page()
    again.goto(page.url)
    assert again.locator("#quiz input:checked").count() == len(firing) - 1  # the address has the ticks
    again.close()
    page.keyboard.press(" ")  # on the clip that was ticked last
    page.keyboard.press("Enter")
    page.locator("#result").wait_for()
    assert page.locator("#result").inner_text().startswith("6 of 6 right. It was feature 8")
    assert page.evaluate("document.activeElement.id") == "result"
    page.reload()
    assert page.locator("#tally").inner_text().startswith("So far 6 of 6 clips right (100 %) in 1 round;")
    page.get_by_role("link", name="Other clips of this one").click()
    page.wait_for_url(re.compile("seed=2"))
    page.get_by_role("button", name="Show the curves").click()
    page.locator("#tally").get_by_text("in 2 rounds").wait_for()


def test_notes_go_out_and_come_in(watched, site, tmp_path):
    page = watched.open("/notes.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as JSON").click()
    path = Path(tmp_path / "notes.json")
    download.value.save_as(path)
    content = json.loads(path.read_text("utf-8"))
    content["notes"] = [
        {"layer": 3, "sae_sha256": f"{3:064x}", "feature": 2, "label": "from afar", "note": "", "ratings": {}}
    ]
    path.write_text(json.dumps(content))
    page.locator("#import").set_input_files(path)
    page.get_by_text("from afar").wait_for()
    assert site.notes.of(3, 2).label == "from afar"


def test_without_scripts_all_is_readable_and_plays_by_the_browsers_own_controls(browser, address, site):
    watched = Watched(browser, address, java_script_enabled=False)
    page = watched.open("/feature/4/8.html")
    assert page.locator("audio[controls]").is_visible()
    assert page.locator("#stage-said").inner_text().startswith("Fires from")
    page.locator(".thumb").nth(3).click()
    page.wait_for_url(re.compile(r"\?clip="))
    assert page.locator("#stage-title").inner_text() == site.index.examples(4, 8)[3].clip.name
    watched.context.close()


def test_with_reduced_motion_it_plays_and_tells_the_value(browser, address):
    watched = Watched(browser, address, reduced_motion="reduce")
    page = watched.open("/feature/4/8.html")
    before = shown(page)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"() => !document.getElementById('stage-value').textContent.endsWith('{before[1]:.2f} s')")
    watched.context.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """Pages as files behind a plain server, and the folder with them and a single file of a feature."""
    folder = tmp_path_factory.mktemp("files")
    site = explorer_site(Index(made_index(folder / "i.sqlite", layers=(4,), features=40, clips=12)))
    write_static(site, folder / "static")
    write_single(site, 4, 1, folder / "one.html")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder / "static"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("disk", [False, True])
def test_pages_without_a_server_of_ours(browser, files, disk):
    watched = Watched(browser, (files[1] / "static").as_uri() if disk else files[0])
    page = watched.open("/index.html")

    def judge():
        assert watched.wrong == []
        assert serious(page) == []
        watched.wrong.clear()  # axe puts styles into the page, and asks for its style sheets

    judge()
    page.locator("#words").fill("rain")
    page.wait_for_function("() => /^\\d+ features?$/.test(document.getElementById('count').textContent)")
    assert page.locator("#rows tr").count() > 0
    listed = json.loads(page.locator("#list").text_content())
    asked = [row for row in listed if "rain" in f"{row[2]} {row[7]} {row[8]}".lower()]
    assert page.locator("#count").inner_text().split()[0] == str(len(asked))
    assert 0 < len(asked) < len(listed)
    assert "words=rain" in page.url
    page.locator("#rows a").first.click()
    page.wait_for_url(re.compile("/feature/4/"))
    page.wait_for_load_state("networkidle")
    page.keyboard.press("j")
    assert "clip=" in page.url
    page.locator("#stage-play:enabled").click()
    page.wait_for_function("() => document.getElementById('stage-sound').currentTime > 0")
    assert page.locator("#stage-wave").is_visible() != disk  # pages on the disk may play sounds, but not read them
    judge()
    assert page.locator("form").count() == 0
    page = watched.open("/map/4.html")
    page.locator("#map-canvas[data-ready]").wait_for()
    page = watched.open("/clip/4/3.html")
    page.locator("#stage.live").wait_for()
    watched.context.close()
    assert watched.outside == []
    assert watched.wrong == []


def test_one_file_plays_from_the_disk(browser, files):
    watched = Watched(browser, (files[1] / "one.html").as_uri())
    page = watched.open("")
    assert serious(page) == []
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => document.getElementById('stage-sound').currentTime > 0")
    before = page.locator("#stage-title").inner_text()
    page.keyboard.press("j")
    assert page.locator("#stage-title").inner_text() != before
    watched.context.close()
    assert watched.outside == []
    assert [each for each in watched.wrong if "inline style" not in each] == []  # those of axe
