"""Evidence of speech for words and segments: against a count of milliseconds, and with the real tiny.en."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_events import Millis, decided
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import load_audio, load_processor, steer
from audiosae_steer.evaluate.transcription.decoding import Decoding
from audiosae_steer.evaluate.transcription.evidence import speech_shares
from audiosae_steer.evaluate.transcription.subtitles import write_transcript
from audiosae_steer.evaluate.transcription.transcribe import Segment, Transcript, transcribe_batch
from audiosae_steer.evaluate.transcription.unheard import drop_unheard
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
RIVER = "We walked along the river until the sun went down."


def counted(windows: list[Millis], start: int, end: int) -> float | None:
    """The share by definition, millisecond by millisecond."""

    def heard(at: int) -> bool | None:
        began = max((window[0] for window in windows if window[0] <= at), default=None)
        asked = [window for window in windows if window[0] == began]
        if not asked or any(at >= window[1] for window in asked):
            return None
        return not any(a <= at < b for window in asked for a, b in window[2])

    known = [each for at in range(start, end) if (each := heard(at)) is not None]
    if known:
        return sum(known) / len(known)
    point = heard(start) if heard(start) is not None else heard(start - 1)
    return None if point is None else float(point)


@st.composite
def windows(draw: st.DrawFn) -> list[Millis]:
    """Windows that overlap, leave time out, or begin at one moment, with runs of open frames within."""
    found: list[Millis] = []
    for start in draw(st.lists(st.integers(0, 120), max_size=4)):
        end = start + draw(st.integers(1, 60))
        edges = sorted(draw(st.lists(st.integers(start, end), max_size=6, unique=True)))
        found.append((start, end, list(zip(edges[::2], edges[1::2], strict=False))))
    return found


@given(windows(), st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), max_size=8))
def test_shares_are_those_of_milliseconds(drawn: list[Millis], stretches: list[tuple[int, int]]) -> None:
    times = [(start, start + length) for start, length in stretches]
    found = speech_shares([decided(each) for each in drawn], [(a / 1000, b / 1000) for a, b in times])
    for share, (start, end) in zip(found, times, strict=True):
        expected = counted(drawn, start, end)
        assert share == (None if expected is None else pytest.approx(expected, abs=0.00051))


def test_which_gates_are_asked() -> None:
    stamps, frames = decided((0, 100, [(0, 50)])), decided((0, 100, [(50, 100)]), "frame")
    clip, untimed = decided((0, 100, [(0, 100)]), "clip"), stamps._replace(start=None, end=None, spans=())
    times = [(0.0, 0.05), (0.05, 0.1)]
    assert speech_shares([frames, stamps, clip], times) == [0.0, 1.0]
    assert speech_shares([frames, clip, untimed], times) == [1.0, 0.0]
    assert speech_shares([clip, untimed], times) == [None, None]
    assert speech_shares([], times) == [None, None]
    assert speech_shares([stamps], []) == []


@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_words_of_speech_are_heard(tiny_en: Any, tiny_en_hf: Any, library: str, tmp_path: Path) -> None:
    model, processor = (tiny_en, None) if library == "openai" else (tiny_en_hf, load_processor("tiny.en"))
    fan = np.tile(load_audio(CLIPS / "fan.flac"), 2)
    samples = np.concatenate([load_audio(CLIPS / "speech-04.flac"), fan])
    with steer(model, "no-false-speech"):
        (said,) = transcribe_batch(model, [samples], Decoding(word_timestamps=True), processor=processor)
    assert said.text == RIVER
    words = [word for segment in said.segments for word in segment.words or ()]
    ends = (0.5, 0.76, 1.2, 1.38, 1.62, 1.96, 2.22, 2.34, 2.62)
    np.testing.assert_allclose([word.end for word in words[:-1]], ends, atol=0.1)  # the same in either library
    assert ends[-1] < words[-1].end < 3.5  # and not on through the gap
    assert all(0.5 <= (word.speech or 0) <= 1 for word in words), words
    noise = said._replace(segments=(Segment(5.0, 8.0, " you"),)).with_gates(said.gates)
    assert noise.segments[0].speech == 0.0  # nobody speaks there
    content = json.loads(write_transcript(said, tmp_path / "a.json").read_text())
    assert [word["speech"] for segment in content["segments"] for word in segment["words"]] == [w.speech for w in words]
    assert [segment["speech"] for segment in content["segments"]] == [segment.speech for segment in said.segments]
    whole = said.with_gates(tuple(event for event in said.gates if event.kind == "clip"))  # which decides by window
    assert len(whole.gates) == 1
    [segment] = json.loads(write_transcript(whole, tmp_path / "b.json").read_text())["segments"]
    assert "speech" not in segment
    assert "speech" not in segment["words"][0]


def test_later_windows_of_a_long_recording(tiny_en: Any) -> None:
    fan = np.tile(load_audio(CLIPS / "fan.flac"), 8)
    samples = np.concatenate([load_audio(CLIPS / "speech-04.flac"), fan, load_audio(CLIPS / "speech-08.flac")])
    with steer(tiny_en, "no-false-speech"):
        (said,) = transcribe_batch(tiny_en, [samples], Decoding())
    assert len({event.start for event in said.gates}) > 1
    assert said.segments[-1].text.strip() == "The meeting was moved to Thursday."
    words = [Segment(35.5, 36.9, " meeting moved"), Segment(31.0, 33.0, " you")]  # where it is, and before
    heard, unheard = Transcript.of(words, "en").with_gates(said.gates).segments
    assert heard.speech == 1.0
    assert unheard.speech == 0.0
    assert drop_unheard(said, 0.5) == said  # though its segment begins with its window, in the noise
