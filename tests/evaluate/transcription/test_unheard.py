"""Words and segments that are left out since the gates heard no speech in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gate_events import decided

from audiosae_steer import SteeringError
from audiosae_steer.evaluate.transcription.subtitles import write_transcript
from audiosae_steer.evaluate.transcription.transcribe import Segment, Transcript
from audiosae_steer.evaluate.transcription.unheard import drop_unheard
from audiosae_steer.evaluate.transcription.words import Word

GATES = (decided((0, 30_000, [(0, 2_000), (6_000, 12_000)])), decided((20_000, 40_000, [(22_000, 40_000)])))
WORDS = (Word(1.0, 1.8, " Well,"), Word(2.0, 2.6, " we"), Word(2.6, 3.0, " walked."), Word(6.5, 6.5, " You."))
SAID = Transcript.of(
    [
        Segment(1.0, 7.0, " Well, we walked. You.", 0.0, WORDS),
        Segment(8.0, 9.0, " you", 0.0, (Word(8.0, 9.0, " you"),)),
    ],
    "en",
)


def test_words_without_speech_are_left_out(tmp_path: Path) -> None:
    said = SAID.with_gates(GATES)
    left = drop_unheard(said, 0.5)
    assert left.text == "we walked."
    assert [(s.start, s.end, s.text, s.speech) for s in left.segments] == [(2.0, 3.0, " we walked.", 1.0)]
    assert [word.text for word in left.dropped] == [" Well,", " You.", " you"]
    assert (left.gates, left.language) == (GATES, "en")
    content = json.loads(write_transcript(left, tmp_path / "a.json").read_text())
    assert content["dropped"][0] == {"start": 1.0, "end": 1.8, "text": " Well,", "speech": 0.0}
    assert "words" not in content["dropped"][0]
    assert write_transcript(left, tmp_path / "a.srt").read_text() == "1\n00:00:02,000 --> 00:00:03,000\nwe walked.\n\n"
    assert "dropped" not in json.loads(write_transcript(said, tmp_path / "b.json").read_text())


def test_segments_are_left_out_where_there_are_no_words() -> None:
    plain = [segment._replace(words=None) for segment in SAID.segments]
    left = drop_unheard(Transcript.of(plain, "en").with_gates(GATES), 0.5)
    assert [segment.text for segment in left.segments] == [" Well, we walked. You."]  # 4 of its 6 s
    assert [part.text for part in left.dropped] == [" you"]


@pytest.mark.parametrize(
    ("start", "end", "share", "stays"),
    [
        (5.6, 9.6, 0.1, True),  # 0.4 s of speech, about a word, whose time goes on through the gap
        (5.8, 7.8, 0.1, False),
        (5.8, 6.2, 0.5, True),
        (5.81, 6.21, 0.475, False),
        (50.0, 51.0, None, True),  # beyond the last window
    ],
)
def test_what_stays(start: float, end: float, share: float | None, stays: bool) -> None:
    [segment] = Transcript.of([Segment(start, end, " so")], "en").with_gates(GATES[:1]).segments
    assert segment.speech == share
    left = drop_unheard(Transcript.of([segment], "en").with_gates(GATES[:1]), 0.5)
    assert bool(left.segments) == stays
    assert bool(left.dropped) != stays


def test_refusals() -> None:
    for wrong in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(SteeringError, match="above 0 and up to 1"):
            drop_unheard(SAID.with_gates(GATES), wrong)
    for gates in ((), (GATES[0]._replace(kind="clip"),)):
        with pytest.raises(SteeringError, match="such as no-false-speech"):
            drop_unheard(SAID.with_gates(gates), 0.5)
