"""The A/B page in a browser: it plays under a policy that lets nothing else run, and hides what is which when blind."""

from __future__ import annotations

import numpy as np
from browsing import opened, until

from audiosae_steer.evaluate.listening.ab_page import Compared, ab_page


def test_it_plays_and_hides_the_names_when_blind(tmp_path):
    tone = 0.2 * np.sin(np.arange(24_000) / 9)
    file = tmp_path / "ab.html"
    file.write_text(ab_page("t", "s", [Compared("before", tone), Compared("after", tone / 2)], 24_000))
    with opened(file, ("dark",)) as page:
        page.keyboard.press("2")
        until(page, "document.querySelectorAll('audio')[1].currentTime > 0.1")
        assert page.locator(".sound.playing").count() == 1
        page.keyboard.press("Space")
        until(page, "document.querySelectorAll('audio')[1].paused")
        assert page.locator("strong").first.is_visible()
        page.locator("#blind").check()
        assert page.locator("strong").first.is_hidden()
        page.locator("[data-guess='0']").click()
        assert "of 1; by chance" in page.text_content("#score")
