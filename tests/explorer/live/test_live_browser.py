"""The live pages in Chromium: a slider changes the text, a recipe is saved and steers, the microphone is heard."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
from live_index import CLIPS, LAYER
from page_server import served

from audiosae_steer import load_audio, load_recipe, steer
from audiosae_steer.evaluate.transcription.transcribe import transcribe
from audiosae_steer.explorer.pages.explorer_site import Site
from audiosae_steer.io.shipped import checkpoints_dir

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
FAN = CLIPS.index("fan") + 1
PATIENCE = 60_000
"""Milliseconds: a shared machine is slow now and then."""


@pytest.fixture(scope="module")
def address(live_pages: Site) -> Iterator[str]:
    with served(live_pages) as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    heard = tmp_path_factory.mktemp("microphone") / "speech.wav"
    soundfile.write(heard, load_audio(checkpoints_dir() / "clips" / "speech-01.flac"), 16000)
    arguments = ["--no-sandbox", "--mute-audio", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                 f"--use-file-for-fake-audio-capture={heard}"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with watched(browser, address) as opened:
        yield opened


@contextmanager
def watched(browser: Any, address: str) -> Iterator[Any]:
    """A page that may ask nothing of anybody else, and whose scripts raise nothing."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 900})
    opened, outside, wrong = context.new_page(), [], []
    opened.set_default_timeout(PATIENCE)
    own = (address, "data:", "blob:")
    opened.on("request", lambda request: request.url.startswith(own) or outside.append(request.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    yield opened
    context.close()
    assert outside == []
    assert [each for each in wrong if "inline style" not in each] == []  # axe puts some in, which the policy refuses


def serious(page: Any) -> list[str]:
    """Violations of accessibility that axe calls serious or worse."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("serious", "critical")]


def test_sliders_change_the_text_and_the_recipe_that_is_saved_steers(page: Any, tiny_en: Any, tmp_path: Path) -> None:
    page.goto(f"/steer.html?layer={LAYER}")
    page.get_by_label("Of the index").select_option(str(FAN))
    before = page.locator("#text-before")
    sync_api.expect(before).not_to_be_empty(timeout=PATIENCE)
    text = before.inner_text()
    sync_api.expect(page.locator("#status")).to_have_text("The text stays the same.", timeout=PATIENCE)

    # by keyboard alone: an edit of a feature by number, its kind, and its slider to the left end
    page.get_by_label("Feature", exact=True).focus()
    page.keyboard.type("2170")
    page.keyboard.press("Enter")
    page.get_by_label("Edit of feature 2170").select_option("add")
    page.get_by_label("Amount of feature 2170", exact=True).fill("-6")
    sync_api.expect(page.locator("#text-diff")).to_be_visible(timeout=PATIENCE)
    slider = page.get_by_label("Strength of all edits, slider")
    slider.focus()
    page.keyboard.press("Home")
    assert page.get_by_label("Strength of all edits", exact=True).input_value() == "-2"
    slider.fill("1.5")
    page.wait_for_function(
        "document.body.getAttribute('aria-busy') === null && location.search.includes('strength=1.5')"
    )
    page.wait_for_timeout(600)
    sync_api.expect(page).to_have_url(re.compile("strength=1.5"))
    sync_api.expect(page.locator("#status")).to_contain_text("Working")
    sync_api.expect(page.locator("#status")).to_contain_text("The text", timeout=PATIENCE)
    after = page.locator("#text-after").inner_text()
    assert after != text
    assert serious(page) == []

    page.get_by_role("radio", name="better").check()
    page.get_by_label("Name").fill("less-fan")
    with page.expect_download() as told:
        page.get_by_role("button", name="Save with its SAE").click()
    told.value.save_as(tmp_path / "less-fan.zip")
    sync_api.expect(page.locator("#saved")).to_contain_text("Saved less-fan.zip")
    assert "audiosae-steer calibrate less-fan/recipe.json" in page.locator("#command").inner_text()
    with zipfile.ZipFile(tmp_path / "less-fan.zip") as archive:
        archive.extractall(tmp_path)
    recipe = load_recipe(tmp_path / "less-fan")
    assert recipe.strength == 1.5
    assert recipe.provenance["judged_on"] == [{"clip": "fan", "rating": "better"}]
    with steer(tiny_en, recipe):
        steered = transcribe(tiny_en, load_audio(checkpoints_dir() / "clips" / "fan.flac")).text
    assert (steered or "nothing") == after

    # the address restores it all, in a browser that has nothing kept
    link = page.url
    other = page.context.browser.new_context(base_url=page.url)
    again = other.new_page()
    again.goto(link)
    assert again.get_by_label("Amount of feature 2170", exact=True).input_value() == "-6"
    assert again.get_by_label("Strength of all edits", exact=True).input_value() == "1.5"
    assert again.get_by_label("Of the index").input_value() == str(FAN)
    other.close()


def test_a_feature_is_added_on_its_page_and_a_shipped_recipe_takes_the_text_away(page: Any) -> None:
    page.goto(f"/feature/{LAYER}/36.html")
    page.get_by_role("button", name="Add to recipe").click()
    sync_api.expect(page.get_by_role("link", name="Steer 1 edit in the recipe")).to_be_visible()
    assert serious(page) == []
    page.goto(f"/steer.html?clip={FAN}")
    sync_api.expect(page.get_by_role("link", name="Feature 36")).to_be_visible()
    page.get_by_label("no-false-speech", exact=True).check()
    sync_api.expect(page.locator("#text-after")).to_have_text("nothing", timeout=PATIENCE)
    sync_api.expect(page.get_by_label("Gates", exact=True)).to_contain_text("clip gate at encoder layer 4: opened")
    page.get_by_role("button", name="Remove feature 36").click()
    sync_api.expect(page.locator("#no-edits")).to_be_visible()


def test_the_microphone_is_heard(page: Any) -> None:
    page.goto(f"/own.html?layer={LAYER}")
    assert serious(page) == []
    record = page.get_by_role("button", name="Record")
    record.focus()
    page.keyboard.press("Enter")
    stop = page.get_by_role("button", name=re.compile("Stop"))
    sync_api.expect(stop).to_have_text(re.compile(r"Stop · [2-9]"), timeout=PATIENCE)
    stop.click()
    sync_api.expect(page.locator("#status")).to_contain_text("features fire on recording.wav", timeout=PATIENCE)
    assert page.locator("#timeline li").count() == 12
    assert page.locator("#fired tr").count() > 12
    sync_api.expect(page.locator("#gate-list > li").first).to_contain_text("clip gate")
    loudest = page.evaluate(
        """async () => {
          const bytes = await (await fetch(document.getElementById('stage-sound').src)).arrayBuffer();
          const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes);
          return sound.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        }"""
    )
    assert loudest > 0.05
    tracks = page.locator("button.track")
    tracks.nth(1).focus()
    page.keyboard.press("Enter")
    sync_api.expect(tracks.nth(1)).to_have_attribute("aria-pressed", "true")
    assert serious(page) == []


def test_a_codecs_sound_is_compared_blind(browser: Any, codec_pages: Site) -> None:
    with served(codec_pages) as address, watched(browser, address) as page:
        page.goto("/steer.html?edit=1:3:scale:3")
        page.locator("#own-file").set_input_files(checkpoints_dir() / "clips" / "speech-01.flac")
        sync_api.expect(page.locator("#status")).to_have_text("Both sounds are ready.", timeout=PATIENCE)
        page.get_by_label("blind").check()
        page.get_by_role("button", name="X", exact=True).click()
        sync_api.expect(page.get_by_role("button", name="X", exact=True)).to_have_attribute("aria-pressed", "true")
        for tries in (1, 2):
            page.get_by_role("button", name="X is A").click()
            said = page.locator(".abx-panel [aria-live]")
            sync_api.expect(said).to_contain_text(re.compile(rf"[0-{tries}] of {tries}; as many or more by chance"))
        assert serious(page) == []
