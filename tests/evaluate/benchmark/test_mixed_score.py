"""Scores of transcripts whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest

from audiosae_steer.evaluate.benchmark.long_recordings import PAUSE, SPEECH, LongFile, Piece
from audiosae_steer.evaluate.benchmark.mixed_score import score_mixed
from audiosae_steer.evaluate.transcription.transcribe import Segment, Transcript

FIRST, SECOND = "the river was calm that night", "we left before the storm came"
FILE = LongFile(
    np.zeros(30 * 16_000, np.float32),
    (
        Piece(0.0, 5.0, None, "noise"),
        Piece(5.0, 8.0, FIRST, SPEECH),
        Piece(8.0, 8.5, None, PAUSE),
        Piece(8.5, 11.5, SECOND, SPEECH),
        Piece(11.5, 30.0, None, "music"),
    ),
)


def scored(*segments: tuple[float, float, str]):
    return score_mixed(Transcript.of([Segment(*each) for each in segments], "en"), FILE)


def test_what_was_said_has_no_errors() -> None:
    found = scored((5.0, 8.0, FIRST), (8.5, 11.5, SECOND))
    assert (found.words, found.errors, found.twice, found.loops) == (12, 0, 0, 0)
    assert found.gap_seconds == 23.5
    assert found.drift == pytest.approx(0.0)
    assert found.edge_words == 2  # "the" at 5.25 s and "came" at 11.25 s


def test_a_sentence_that_is_written_twice_is_inserted_and_counted_as_such() -> None:
    found = scored((0.0, 3.0, FIRST), (5.0, 8.0, FIRST), (8.5, 11.5, SECOND))
    assert (found.inserted, found.deleted, found.substituted, found.twice) == (6, 0, 0, 6)


def test_invented_words_are_inserted_and_not_written_twice() -> None:
    found = scored((5.0, 8.0, FIRST), (8.5, 11.5, SECOND), (15.0, 20.0, "thank you for watching the"))
    assert (found.inserted, found.twice, found.gap_words) == (5, 0, 5)


def test_misheard_speech_is_inserted_but_not_in_a_gap() -> None:
    found = scored((5.0, 8.0, f"well {FIRST} again"), (8.5, 11.5, SECOND))
    assert (found.inserted, found.gap_words) == (2, 0)


def test_lost_words_are_told_by_their_place() -> None:
    found = scored((5.0, 8.0, FIRST.removeprefix("the ")), (8.5, 11.5, SECOND.replace("the storm ", "")))
    assert (found.deleted, found.edge) == (3, 1)
    assert scored().deleted == 12
    assert scored().capped == 12


def test_substitutions_and_loops() -> None:
    found = scored((5.0, 8.0, FIRST.replace("calm", "come")), (8.5, 11.5, SECOND), (12.0, 29.0, "no " * 40))
    assert found.substituted == 1
    assert found.inserted == 40
    assert found.loops == 1
    assert found.capped == 12
