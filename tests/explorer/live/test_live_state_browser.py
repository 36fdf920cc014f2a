"""What the live pages keep and clear, in Chromium: two tabs, clips that fail, names. No model: its answers are made."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from page_server import served

from audiosae_steer.explorer.index.index_reader import Index
from audiosae_steer.explorer.live.live_answers import packed
from audiosae_steer.explorer.pages.live_site import live_site

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
PATIENCE = 30_000


def _steered(request: Any) -> dict[str, Any]:
    said = {"text": f"of {request.clip.number or 'own'}", "windows": [], "gates": []}
    return {"kind": "text", "before": said, "after": said, "diff": [], "steering": "", "notes": []}


def _heard(clip: Any, layer: int) -> dict[str, Any]:
    curve = np.zeros(100, np.float32)
    curve[-1] = 1.0  # one frame, at the end
    feature = {"feature": 7, "label": "", "peak": 1.0, "at": 1.98, "share": 0.01, "surprise": 3.0, "corpus_peak": 2.0,
               "curve": packed(curve)}  # fmt: skip
    return {"layer": layer, "rate": 50.0, "seconds": 2.0, "fired": 1, "features": [feature], "gates": [], "notes": []}


@contextmanager
def _served(file: Path) -> Iterator[str]:
    index = Index(file)
    site = live_site(index)
    live = site.extra["live"]
    live._steer, live._listen = _steered, _heard
    try:
        with served(site) as address:
            yield address
    finally:
        live.close()
        index.close()


@pytest.fixture(scope="module")
def context(index_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    copy = Path(shutil.copy(index_file, tmp_path_factory.mktemp("state") / "made.sqlite"))
    with _served(copy) as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"])
        opened = browser.new_context(base_url=address)
        opened.set_default_timeout(PATIENCE)
        yield opened
        browser.close()


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    opened, wrong = context.new_page(), list[str]()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    for each in context.pages:
        each.close()
    assert wrong == []


def sound(sample: float = 0.1) -> dict[str, Any]:
    out = io.BytesIO()
    samples = np.full(32_000, 0.1, np.float32)
    samples[5] = sample
    soundfile.write(out, samples, 16_000, format="WAV", subtype="FLOAT")
    return {"name": "bad.wav" if sample > 1 else "door.wav", "mimeType": "audio/wav", "buffer": out.getvalue()}


def expect(place: Any) -> Any:
    return sync_api.expect(place)


def test_edits_that_another_tab_adds_are_taken_up_and_not_written_over(context: Any, page: Any) -> None:
    page.goto("/steer.html?layer=4&edit=4:3:scale:0")
    other = context.new_page()
    other.goto("/feature/4/8.html")
    other.get_by_role("button", name="Add to recipe").click()
    page.bring_to_front()
    expect(page.locator("#edits > li")).to_have_count(2)
    page.get_by_label("Strength of all edits", exact=True).fill("0.5")  # which writes the recipe
    expect(other.get_by_role("button", name="Take out of recipe")).to_be_visible()
    assert other.evaluate("JSON.parse(localStorage[Object.keys(localStorage)[0]]).edits.length") == 2


def test_the_menu_of_clips_says_which_clip_is_steered(page: Any) -> None:
    page.goto("/steer.html?layer=4")
    menu, before = page.get_by_label("Of the index"), page.locator("#text-before")
    menu.select_option("3")
    expect(before).to_have_text("of 3")
    menu.select_option("")  # there is no own clip
    assert menu.input_value() == "3"
    expect(page.locator("#own-said")).to_contain_text("No own clip yet")
    page.locator("#own-file").set_input_files(sound())
    expect(before).to_have_text("of own")
    menu.select_option("3")
    expect(before).to_have_text("of 3")
    menu.select_option("")
    expect(before).to_have_text("of own")
    assert "own=" in page.url


def test_no_result_stays_under_an_error(page: Any) -> None:
    page.goto("/steer.html?layer=4&edit=4:3:scale:0&clip=3")
    expect(page.locator("#text-before")).to_have_text("of 3")
    page.get_by_label("Strength of all edits", exact=True).fill("1000000000")
    expect(page.locator("#status")).to_contain_text("expected a number from")
    expect(page.locator("#text-before")).to_have_count(0)
    expect(page.locator("#verdict")).to_be_hidden()
    page.get_by_label("Strength of all edits", exact=True).fill("1")
    expect(page.locator("#text-before")).to_have_text("of 3")
    page.locator("#own-file").set_input_files(sound(1e30))
    expect(page.locator("#own-said")).to_contain_text("bad.wav holds a sample of 1e+30")
    expect(page.locator("#text-before")).to_have_count(0)
    expect(page.locator("#clip-now")).to_be_hidden()


def test_an_own_clip_keeps_its_name_and_goes_when_the_next_is_none(page: Any) -> None:
    page.goto("/own.html?layer=4")
    page.locator("#own-file").set_input_files(sound())
    expect(page.locator("#status")).to_contain_text("fire on door.wav")
    expect(page.locator("#stage-said")).to_contain_text("Fires at 2.0 s, at most 1.00")
    page.reload()
    expect(page.locator("#status")).to_contain_text("fire on door.wav")
    page.locator("#own-file").set_input_files(sound(1e30))
    expect(page.locator("#own-said")).to_contain_text("bad.wav holds a sample of 1e+30")
    expect(page.locator("#found")).to_be_hidden()
    assert "own=" not in page.url


def test_no_old_spectrogram_stands_under_a_new_name(page: Any) -> None:
    page.goto("/feature/4/8.html")
    mel = page.locator("#stage-mel")
    seen = page.evaluate(
        """() => {
          const mel = document.getElementById('stage-mel'), other = [...document.querySelectorAll('.thumb')].at(-1);
          other.click();
          return mel.style.visibility;
        }"""
    )
    assert seen == "hidden"
    page.wait_for_function("document.getElementById('stage-mel').complete")
    expect(mel).to_be_visible()
