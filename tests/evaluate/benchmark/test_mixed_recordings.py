"""Mixed recordings: exact times, levels as drawn, controls of the same speech, and what cannot be mixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer import AudioError
from audiosae_steer.evaluate.benchmark.long_recordings import PAUSE, SPOKEN_DB, LongFile
from audiosae_steer.evaluate.benchmark.mixed_recordings import CROSSFADE, CUT, SILENCE, MixedFile, mix

RATE = 16_000


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    """A loud tone, with a second of silence on either side that is to be cut off."""
    t = np.arange(round(seconds * RATE)) / RATE
    quiet = np.zeros(RATE, np.float32)
    return np.concatenate([quiet, 0.1 * np.sin(2 * np.pi * hertz * t).astype(np.float32), quiet])


UTTERANCES = [(tone(1.5), "one"), (tone(2.0, 600), "two two"), (tone(3.0, 800), "three three three")]
SOUNDS = {
    "hiss": [np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)],
    "rumble": [np.cumsum(np.random.default_rng(1).standard_normal(9 * RATE)).astype(np.float32) * 1e-3],
}


def drawn(seed: int, seconds: float = 30.0) -> MixedFile:
    return mix(UTTERANCES, SOUNDS, seed, seconds, name="x")


def db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def part(file: LongFile, start: float, end: float) -> np.ndarray:
    return file.samples[round(start * RATE) : round(end * RATE)]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), seconds=st.sampled_from([8.0, 30.0, 75.5]))
def test_pieces_lie_end_to_end_and_are_where_the_sound_is(seed: int, seconds: float) -> None:
    each = drawn(seed, seconds)
    file = each.mixed
    assert len(file.samples) == round(seconds * RATE)
    assert file.pieces == each.silent.pieces
    assert [piece.start for piece in file.pieces[1:]] == [piece.end for piece in file.pieces[:-1]]
    assert (file.pieces[0].start, file.pieces[-1].end) == (0.0, pytest.approx(seconds))
    assert file.pieces[0].text is None
    assert file.pieces[-1].kind != PAUSE
    assert file.speech
    assert all(gap.end - gap.start >= 1.0 for gap in file.gaps)
    lengths = {"one": 1.5, "two two": 2.0, "three three three": 3.0}
    for piece in file.speech:
        assert piece.end - piece.start == pytest.approx(lengths[str(piece.text)], abs=0.011)
        assert db(part(each.silent, piece.start, piece.end)) == pytest.approx(
            SPOKEN_DB, abs=1.5
        )  # with what lies under it
    for gap in each.silent.gaps:
        assert db(part(each.silent, gap.start + CROSSFADE, gap.end - CROSSFADE)) < -70
    assert file.samples.dtype == np.float32
    assert float(np.abs(file.samples).max()) <= 1


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_gaps_have_the_levels_that_are_promised_and_go_on_under_speech(seed: int) -> None:
    each = drawn(seed)
    for gap, after in zip(each.mixed.pieces, each.mixed.pieces[1:], strict=False):
        if gap.text is not None or gap.kind == PAUSE:
            continue
        level = db(part(each.mixed, gap.start + CROSSFADE, gap.end - CROSSFADE)) - SPOKEN_DB
        under = part(each.silent, after.start + CROSSFADE, after.end - CROSSFADE)
        if gap.kind == SILENCE:
            assert level < -40
        elif gap.kind == "hiss":  # which has the same level everywhere
            assert -20.5 < level < 5.5
            if after.text is not None:
                spectrum = np.abs(np.fft.rfft(under * np.hanning(len(under)))) ** 2
                f = np.fft.rfftfreq(len(under), 1 / RATE)
                # over the band without tones, scaled up to the whole
                hiss = 10 * np.log10(spectrum[f > 2000].sum() / spectrum.sum() * 8 / 6)
                assert -25.8 < hiss < -9.2


def test_the_level_under_speech_can_be_given_and_nothing_else_changes() -> None:
    usual = drawn(3)
    loud, faint = (mix(UTTERANCES, SOUNDS, 3, under=(level, level)) for level in (0.0, 30.0))
    assert loud.mixed.pieces == faint.mixed.pieces == usual.mixed.pieces
    (first, after), *_ = [
        (gap, next_one)
        for gap, next_one in zip(usual.mixed.pieces, usual.mixed.pieces[1:], strict=False)
        if gap.kind == "hiss" and next_one.text is not None
    ]
    inner = first.start + CROSSFADE, first.end - CROSSFADE
    np.testing.assert_array_equal(part(loud.mixed, *inner), part(faint.mixed, *inner))
    spoken = [part(each.mixed, after.start + CROSSFADE, after.end - CROSSFADE) for each in (loud, faint)]
    assert db(spoken[0]) - SPOKEN_DB == pytest.approx(3, abs=0.7)  # as much again
    assert db(spoken[1]) - SPOKEN_DB == pytest.approx(0, abs=0.7)


def test_the_cut_control_keeps_speech_and_a_little_of_each_gap() -> None:
    each = drawn(3)
    assert [piece.text for piece in each.cut.speech] == [piece.text for piece in each.mixed.speech]
    for mine, theirs in zip(each.cut.speech, each.silent.speech, strict=True):
        own, same = part(each.cut, mine.start, mine.end), part(each.silent, theirs.start, theirs.end)
        np.testing.assert_array_equal(own, same)
    assert not each.cut.gaps
    gaps = len(each.mixed.gaps)
    spoken = sum(piece.end - piece.start for piece in each.mixed.pieces) - sum(g.end - g.start for g in each.mixed.gaps)
    assert each.cut.seconds == pytest.approx(spoken + CUT * gaps, abs=0.01)


def test_a_seed_makes_the_same_and_another_something_else() -> None:
    first, again, other = drawn(1), drawn(1), drawn(2)
    np.testing.assert_array_equal(first.mixed.samples, again.mixed.samples)
    assert first.mixed.pieces != other.mixed.pieces


def test_kinds_take_turns() -> None:
    kinds = [gap.kind for gap in drawn(5, 240.0).mixed.gaps]
    for start in range(0, len(kinds) - 2, 3):
        assert set(kinds[start : start + 3]) == {"hiss", "rumble", SILENCE}


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(AudioError, match="at least one utterance"):
        mix([], SOUNDS)
    with pytest.raises(AudioError, match="at least one utterance"):
        mix(UTTERANCES, {"none": []})
    with pytest.raises(AudioError, match="so short a recording"):
        mix(UTTERANCES, SOUNDS, seconds=3.0)
    with pytest.raises(AudioError, match="silent"):
        mix([(np.zeros(RATE, np.float32), "nothing")], SOUNDS)
    with pytest.raises(AudioError, match="NaN"):
        mix([(np.full(RATE, np.nan, np.float32), "nothing")], SOUNDS)
