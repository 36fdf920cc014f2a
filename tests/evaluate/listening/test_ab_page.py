"""The page to compare sounds by ear."""

from __future__ import annotations

import re

import numpy as np
import pytest

from audiosae_steer.errors import AudioError
from audiosae_steer.evaluate.listening.ab_page import Compared, ab_page


def test_levels_are_matched_to_the_softest_and_nothing_is_external():
    rng = np.random.default_rng(0)
    soft, loud = 0.05 * rng.standard_normal(4000), 0.2 * rng.standard_normal((2, 4000))
    page = ab_page("<b>title</b>", "says", [Compared("one", loud), Compared("two & more", soft)], 24000, [("a", "b")])
    gains = [float(each) for each in re.findall(r'data-gain="([^"]+)"', page)]
    assert gains == pytest.approx([soft.std() / loud.std(), 1.0], rel=0.02)
    assert "<b>title" not in page
    assert "two &amp; more" in page
    assert page.count("data:audio/wav;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert 'id="blind"' in page


def test_silence_keeps_its_level():
    page = ab_page("t", "s", [Compared("one", np.zeros(100)), Compared("two", np.ones(100) * 0.1)], 16000)
    assert re.findall(r'data-gain="([^"]+)"', page) == ["1.0", "1.0"]


def test_one_sound_is_no_comparison():
    with pytest.raises(AudioError, match="give two at least"):
        ab_page("t", "s", [Compared("one", np.ones(10))], 16000)
