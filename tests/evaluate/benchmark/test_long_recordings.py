"""Long recordings: pieces without holes, speech where it is said to be, gaps as long and as loud as asked for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer import AudioError
from audiosae_steer.evaluate.benchmark.long_recordings import (
    PAUSE,
    SPEECH,
    Piece,
    assemble,
    read_long_files,
    synthetic_fillers,
)

RATE = 16_000


def tone(pitch: float, seconds: float) -> np.ndarray:
    """A sound to be told from the others by its pitch, with 0.3 s of quiet at both ends."""
    x = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE)
    return np.pad(x, int(0.3 * RATE)).astype(np.float32)


UTTERANCES = [(tone(1000.0, 2.0), "one"), (tone(2000.0, 3.0), "two"), (tone(3000.0, 1.5), "three")]
PITCH = {"one": 1000.0, "two": 2000.0, "three": 3000.0}
SECONDS = {"one": 2.0, "two": 3.0, "three": 1.5}
NOISE = (0.1 * np.random.default_rng(0).standard_normal(4 * RATE)).astype(np.float32)
FILLERS = {"noise": [NOISE], **synthetic_fillers(0, 1)}


def db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-12))


@settings(max_examples=12)
@given(st.integers(0, 1000), st.floats(1.5, 4))
def test_what_is_assembled_is_where_it_is_said_to_be(seed, minutes):
    file = assemble(UTTERANCES, FILLERS, seed, minutes)
    assert file.seconds == pytest.approx(minutes * 60, abs=1e-3)
    assert file.pieces[0].start == 0
    assert file.pieces[-1].end == pytest.approx(file.seconds)
    assert all(a.end == b.start for a, b in pairwise(file.pieces))
    assert file.pieces[0] in file.gaps
    assert file.pieces[-1] in file.gaps
    assert all(5 - 1e-3 <= gap.end - gap.start <= 30 + 1e-3 for gap in file.gaps[:-1])
    assert {gap.kind for gap in file.gaps} <= set(FILLERS)
    for piece in file.speech:
        part = file.samples[round(piece.start * RATE) : round(piece.end * RATE)]
        peak = np.fft.rfftfreq(len(part), 1 / RATE)[np.abs(np.fft.rfft(part)).argmax()]
        assert peak == pytest.approx(PITCH[str(piece.text)], abs=2)
        assert db(part) == pytest.approx(-26, abs=0.2)
        assert piece.end - piece.start == pytest.approx(
            {"one": 2.0, "two": 3.0, "three": 1.5}[str(piece.text)], abs=0.03
        )
    for gap in file.gaps:
        level = db(file.samples[round(gap.start * RATE) : round(gap.end * RATE)]) + 26
        low, high = (-50, -30) if gap.kind == "near-silence" else (-20, 0)
        assert low - 1 <= level <= high + 0.5
    for piece in file.pieces:
        if piece.kind == PAUSE:
            assert 0.3 - 1e-3 <= piece.end - piece.start <= 1.0 + 1e-3
            assert db(file.samples[round(piece.start * RATE) : round(piece.end * RATE)]) < -70


def test_every_utterance_and_every_kind_takes_its_turn():
    file = assemble(UTTERANCES, FILLERS, 0, 8)
    texts = [piece.text for piece in file.speech]
    assert all(set(texts[i : i + 3]) == set(PITCH) for i in range(0, len(texts) - 2, 3))
    kinds = [gap.kind for gap in file.gaps]
    assert all(set(kinds[i : i + 3]) == set(FILLERS) for i in range(0, len(kinds) - 2, 3))


def test_seeds_repeat_and_differ():
    one, again, other = (assemble(UTTERANCES, FILLERS, seed, 2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.samples, again.samples)
    assert one.pieces == again.pieces
    assert one.pieces != other.pieces


def test_levels_by_kind():
    file = assemble(UTTERANCES, FILLERS, 0, 3, levels={"noise": (-10.0, -10.0)})
    for gap in file.gaps:
        if gap.kind == "noise":
            assert db(file.samples[round(gap.start * RATE) : round(gap.end * RATE)]) == pytest.approx(-36, abs=0.3)


@pytest.mark.parametrize(
    ("utterances", "fillers", "minutes", "message"),
    [
        ([], FILLERS, 2, "at least one utterance"),
        (UTTERANCES, {}, 2, "at least one utterance"),
        (UTTERANCES, {"noise": []}, 2, "at least one utterance"),
        (UTTERANCES, FILLERS, 0.1, "too short"),
        (UTTERANCES, {"noise": [np.zeros(RATE, np.float32)]}, 2, "silent"),
        ([(np.zeros(RATE, np.float32), "one")], FILLERS, 2, "silent"),
    ],
)
def test_what_cannot_be_assembled(utterances, fillers, minutes, message):
    with pytest.raises(AudioError, match=message):
        assemble(utterances, fillers, 0, minutes)


def test_reading_a_list(tmp_path):
    soundfile.write(tmp_path / "rain-1.wav", NOISE, RATE)  # 4 s
    rows = "file\tstart\tend\tspeaker\ttext\nrain-1.wav\t3.0\t3.5\tx\tTWO\nrain-1.wav\t2.1\t2.6\tx\tONE\n"
    (tmp_path / "segments.tsv").write_text(rows, encoding="utf-8")
    (file,) = read_long_files(tmp_path)
    assert file.name == "rain-1"
    assert file.pieces == (
        Piece(0.0, 2.1, None, "rain-1"),
        Piece(2.1, 2.6, "ONE", SPEECH),
        Piece(2.6, 3.0, None, PAUSE),
        Piece(3.0, 3.5, "TWO", SPEECH),
        Piece(3.5, 4.0, None, PAUSE),
    )
    assert file.seconds == 4


@pytest.mark.parametrize(
    "rows",
    [
        "file\tstart\ttext\nrain.wav\t1\tONE\n",
        "file\tstart\tend\ttext\nrain.wav\tsoon\t2\tONE\n",
        "file\tstart\tend\ttext\nrain.wav\t1\t9\tONE\n",
        "file\tstart\tend\ttext\nrain.wav\t1\t2\tONE\nrain.wav\t1.5\t3\tTWO\n",
        "file\tstart\tend\ttext\nsnow.wav\t1\t2\tONE\n",
    ],
)
def test_lists_that_cannot_be_read(tmp_path, rows):
    soundfile.write(tmp_path / "rain.wav", NOISE, RATE)
    (tmp_path / "segments.tsv").write_text(rows, encoding="utf-8")
    with pytest.raises(AudioError):
        read_long_files(tmp_path)
    with pytest.raises(AudioError, match="segments.tsv cannot be read"):
        read_long_files(tmp_path / "nowhere")


def test_the_recordings_at_hand(assets):
    files = read_long_files(assets / "long" / "assembled")
    assert [file.name for file in files] == ["birds-wind-spk19", "city-train-spk26", "keyboard-room-3spk"]
    for file in files:
        assert 5 * 60 <= file.seconds <= 7.5 * 60
        assert all(a.end == b.start for a, b in pairwise(file.pieces))
        assert all(gap.end - gap.start > 5 for gap in file.gaps)
        assert len(file.speech) >= 8
