"""Varied clips: of the right length and level, a function of the seed, and never of other clips than those given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer.data.augment import beside_noise, brief, louder, synthetic_noise, vary_absent, vary_present

RATE = 16_000
SEEDS = st.integers(0, 2**31)


def tones(count: int, seconds: float, frequency: float = 440.0) -> list[np.ndarray]:
    t = np.arange(int(seconds * RATE)) / RATE
    return [(0.1 * np.sin(2 * np.pi * (frequency + 10 * i) * t)).astype(np.float32) for i in range(count)]


def sound(clips) -> bool:
    return all(
        x.dtype == np.float32 and x.ndim == 1 and 0 < len(x) <= 30 * RATE and np.isfinite(x).all() and abs(x).max() <= 1
        for x in clips
    )


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(0.05, 35))
def test_whatever_their_length_clips_come_out_sound(seed, seconds):
    clips, noises = tones(4, seconds), tones(2, 3.0, 90.0)
    for varied in (vary_absent(clips, seed, synthetic=8), vary_present(clips, noises, seed)):
        assert sound(varied)
        assert len(varied) > len(clips)


def test_they_are_a_function_of_the_seed():
    clips, noises = tones(5, 2.0), tones(2, 3.0, 90.0)
    one, same, other = (vary_present(clips, noises, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_shares_are_kept():
    clips, noises = tones(20, 2.0), tones(2, 3.0, 90.0)
    assert len(vary_present(clips, noises, 0, brief_share=0.5, beside_share=0.25)) == 20 + 10 + 5
    assert len(vary_absent(clips, 0, synthetic=10, brief_share=0.2)) == 30 + 6
    unchanged = vary_present(clips, noises, 0, noisy_share=0, brief_share=0, beside_share=0)
    for varied, clip in zip(unchanged, clips, strict=True):
        assert np.corrcoef(varied, clip)[0, 1] > 0.999


def test_brief_stretches_are_brief_and_loud():
    quiet_then_loud = np.concatenate([np.zeros(5 * RATE, np.float32), tones(1, 1.0)[0], np.zeros(5 * RATE, np.float32)])
    for x in brief([quiet_then_loud] * 20, 1):
        assert len(x) <= 1.7 * RATE
        assert abs(x).max() > 0.05


def test_noise_lies_beside_and_not_under():
    speech = tones(1, 2.0)[0]
    for x in beside_noise([speech] * 8, [np.full(8 * RATE, 1e-3, np.float32)], 0):
        assert 5 * RATE <= len(x) <= 30 * RATE
        starts = np.flatnonzero(np.isclose(x, speech[1], atol=1e-7))
        assert any(np.allclose(x[s - 1 : s - 1 + len(speech)], speech, atol=1e-6) for s in starts)


def test_silent_or_missing_noise_is_done_without():
    clips = tones(4, 1.0)
    assert sound(vary_present(clips, [np.zeros(RATE, np.float32)], 0))
    assert sound(vary_present(clips, [], 0))


def test_synthetic_noise_is_of_eight_kinds():
    clips = synthetic_noise(0, 16)
    assert sound(clips)
    assert all(2 * RATE <= len(x) <= 8 * RATE for x in clips)
    flatness = [np.exp(np.mean(np.log(np.abs(np.fft.rfft(x)) + 1e-9))) / np.mean(np.abs(np.fft.rfft(x))) for x in clips]
    assert max(flatness[0::8]) > 0.8  # white noise is flat
    assert max(flatness[4::8]) < 0.2  # two tones are not


@pytest.mark.parametrize("decibels", [-30.0, 6.0])
def test_gain(decibels):
    clip = tones(1, 0.5)[0]
    assert np.sqrt(np.mean(louder(clip, decibels) ** 2) / np.mean(clip**2)) == pytest.approx(
        10 ** (decibels / 20), rel=1e-4
    )
