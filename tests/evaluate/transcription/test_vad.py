"""The VAD: what it takes for speech, that it agrees with faster-whisper's own use of it, and times put back."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from audiosae_steer import AudioError, MissingExtraError, load_audio
from audiosae_steer.evaluate.metrics.wer import word_errors
from audiosae_steer.evaluate.transcription.transcribe import Transcript, transcribe
from audiosae_steer.evaluate.transcription.vad import (
    Span,
    has_speech,
    highest_probability,
    speech_spans,
    transcribe_with_vad,
)
from audiosae_steer.steering.recipes.load import checkpoints_dir

# Whisper's normaliser leaves its list of spellings open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*english.json:ResourceWarning")

CLIPS = checkpoints_dir() / "clips"
RATE = 16_000
RIVER = "We walked along the river until the sun went down."
MEETING = "The meeting was moved to Thursday."


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("faster_whisper.vad", reason="faster-whisper, which carries the VAD, is not installed")


def clip(name: str) -> np.ndarray:
    return load_audio(CLIPS / f"{name}.flac")


@pytest.fixture(scope="module")
def long() -> tuple[np.ndarray, list[float]]:
    """Two sentences in a minute of hiss, and when they begin."""
    heard = (1e-3 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
    starts = [12.0, 45.0]
    for start, name in zip(starts, ("speech-04", "speech-08"), strict=True):
        samples = clip(name)
        heard[int(start * RATE) : int(start * RATE) + len(samples)] += samples
    return heard, starts


def test_the_bundled_sentences_are_speech_and_most_sounds_are_not(library):
    clips = json.loads((CLIPS / "clips.json").read_text(encoding="utf-8"))
    highest = {c["file"]: highest_probability(load_audio(CLIPS / c["file"])) for c in clips}
    spoken = [highest[c["file"]] for c in clips if c["kind"] == "speech"]
    silent = [highest[c["file"]] for c in clips if c["kind"] == "nonspeech"]
    assert min(spoken) > 0.9
    assert np.median(silent) < 0.2
    assert all(0 <= p <= 1 for p in highest.values())


def test_spans_are_those_of_faster_whisper(library, long):
    heard, starts = long
    raw = library.get_speech_timestamps(heard)  # its defaults are those of vad_filter=True
    assert speech_spans(heard) == [Span(c["start"] / RATE, c["end"] / RATE) for c in raw]
    assert [span.start for span in speech_spans(heard)] == pytest.approx(starts, abs=1)
    tight = speech_spans(heard, pad=0.0)
    assert all(a.start > b.start and a.end < b.end for a, b in zip(tight, speech_spans(heard), strict=True))


@pytest.mark.parametrize("n", [300, 512, 1024, 5 * RATE, 40_000])
def test_the_highest_probability_is_the_threshold_at_which_speech_is_lost(library, n):
    for samples in (clip("speech-04")[:n], clip("alarm")[:n]):
        before = samples.copy()
        highest = highest_probability(samples)
        np.testing.assert_array_equal(samples, before)
        assert has_speech(samples, highest)
        assert not has_speech(samples, min(highest + 1e-4, 1.1))


def test_the_model_reads_the_speech_alone_and_times_are_put_back(library, long, tiny_en):
    heard, starts = long
    encoded = []
    handle = tiny_en.encoder.register_forward_hook(lambda *_: encoded.append(1))
    try:
        found = transcribe_with_vad(tiny_en, heard)
    finally:
        handle.remove()
    assert len(encoded) == 1  # both sentences together are shorter than 30 s
    assert word_errors([f"{RIVER} {MEETING}"], [found.text]).errors[0] <= 1
    assert found.windows is None
    assert found.segments[0].start == pytest.approx(starts[0], abs=1)
    assert found.segments[-1].end == pytest.approx(starts[1] + len(clip("speech-08")) / RATE, abs=1)


def test_without_speech_the_model_does_not_run(library, tiny_en):
    def fail(*_: object) -> None:
        raise RuntimeError("the encoder ran")

    hiss = (1e-3 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    handle = tiny_en.encoder.register_forward_hook(fail)
    try:
        assert transcribe_with_vad(tiny_en, hiss, language="en") == Transcript("", (), "en")
    finally:
        handle.remove()


def test_speech_throughout_is_transcribed_as_without_the_vad(library, tiny_en):
    samples = clip("speech-04")
    assert transcribe_with_vad(tiny_en, samples).text == transcribe(tiny_en, samples).text


@pytest.mark.parametrize("bad", [np.zeros(0, np.float32), np.zeros((2, 800), np.float32), np.zeros(800, np.int16)])
@pytest.mark.parametrize("function", [speech_spans, has_speech, highest_probability])
def test_what_is_no_audio_is_refused(library, bad, function):
    with pytest.raises(AudioError, match="expected mono"):
        function(bad)


def test_without_faster_whisper_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setitem(sys.modules, "faster_whisper.vad", None)
    with pytest.raises(MissingExtraError, match=r"audiosae-steer\[bench\]"):
        has_speech(np.zeros(800, np.float32))
