"""Clips of pages in one file, in a browser: seen, heard, walked by keyboard, without a network, judged by axe."""

from __future__ import annotations

import numpy as np
import pytest
from browsing import opened, until

from audiosae_steer.analyse.frame.presented import Figure, Sound, Table
from audiosae_steer.analyse.frame.provenance import Provenance
from audiosae_steer.analyse.frame.result_page import page_of
from audiosae_steer.evaluate.benchmark import failing_clips
from audiosae_steer.evaluate.html_page import render
from audiosae_steer.evaluate.page_parts.stage_clips import Curve, StageClip, media_of, page_state, player, stage_clip

RATE = 50.0


def made_clip(number: int, curved: bool = True) -> StageClip:
    """Two seconds of a tone; its feature fires as hard as its number, from 1.0 to 1.2 s."""
    sound = 0.2 * np.sin(np.arange(32_000) / (5 + number)).astype(np.float32)
    values = np.zeros(100)
    values[50:60] = number + 1
    curve = Curve(values, RATE, 4.0) if curved else None
    return stage_clip(str(number), f"<b>{number}.wav", media_of(sound), curve, words="a tone", top=4.0)


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The page of failures, with a clip whose gate was read, and one without a gate."""
    clips = [made_clip(0), made_clip(1, curved=False)]
    shown = [
        {
            "clip": {"name": clip.name, "source": "made", "seconds": 2.0}, "shown": clip, "score": score,
            "features": [(7, 1.0, 0.5), (8, 1.0, -0.5)],
            "rows": [{"label": "unsteered", "text": "Thank you.", "style": ""},
                     {"label": "clip gate", "text": "", "style": "bad"}],
        }
        for clip, score in zip(clips, (1.0, None), strict=True)
    ]  # fmt: skip
    section = {"title": "Text", "what": "clips", "clips": 2, "found": 2, "shown": shown,
               "counts": [{"arm": "clip gate", "failed": 2}]}  # fmt: skip
    file = tmp_path_factory.mktemp("failing") / "failures.html"
    file.write_text(
        render(
            failing_clips.Path(failing_clips.__file__).with_suffix(".html"), title="a", arms="b", timestamps=True,
            sections=[section], clips=clips, rate=RATE, state=page_state(clips), player=player(),
        ),
        encoding="utf-8",
    )  # fmt: skip
    return file


def test_the_stage_moves_to_the_clip_that_it_shows_and_plays_it(failing):
    with opened(failing) as page:
        groups = page.locator(".stage-group")
        assert groups.nth(0).locator("#stage").count() == 1
        assert "Fires from 1.0 to 1.2 s, at most 1.00 at 1.0 s." in page.text_content("#stage-said")
        page.locator("#stage-peak").click()
        assert page.text_content("#stage-value") == "1.00 at 1.00 s"
        picture = page.locator("#stage-picture")
        picture.focus()
        page.keyboard.press("Shift+ArrowRight")
        assert picture.get_attribute("aria-valuetext") == "2.00 seconds, activation 0"
        page.keyboard.press("j")
        assert groups.nth(1).locator("#stage").count() == 1
        assert page.evaluate("document.activeElement.id") == "stage-picture"
        assert picture.get_attribute("aria-valuetext") == "0.00 seconds"  # no curve, no activation
        assert page.text_content("#stage-value") == "0.00 s"
        assert page.locator("#stage-peak").is_hidden()
        assert "<b>1.wav" in page.text_content("#stage-title")
        page.keyboard.press("Space")
        until(page, "document.getElementById('stage-sound').currentTime > 0.1")
        page.keyboard.press("k")
        assert groups.nth(0).locator("#stage").count() == 1
        until(page, "!document.getElementById('stage-sound').paused")  # it plays on with the next clip
        page.keyboard.press("Space")
        assert page.evaluate("document.getElementById('stage-sound').paused")


def test_sounds_that_an_analysis_made_have_the_stage_as_well(tmp_path):
    tone = 0.2 * np.sin(np.arange(24_000) / 9)
    sounds = [Sound(name, "pitch", tone, 24_000) for name in ("before", "after")]
    table = Table("Scores", ("way", "score"), (("a", "1"),))
    file = tmp_path / "page.html"
    shown = (Provenance(warnings=("Few clips.",)), [Figure("1", "clip")], [table], [], [])
    file.write_text(page_of(("Title", "Claim"), *shown, audio=sounds, traced=lambda moment: None), encoding="utf-8")
    with opened(file) as page:
        assert page.locator(".thumb").count() == 2
        page.locator(".thumb").nth(1).click()
        until(page, "document.getElementById('stage-sound').currentTime > 0.1")
        assert page.text_content("#stage-title") == "after"
        assert page.locator(".thumb[aria-current]").get_attribute("data-key") == "1"
