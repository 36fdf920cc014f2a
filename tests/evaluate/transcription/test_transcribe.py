"""Transcribing with both libraries, from samples and files of any length, with and without Whisper's filters."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from make import count_hooks

from audiosae_steer import AudioError, SteeringError, load_audio, load_processor, steer
from audiosae_steer.evaluate.transcription.decoding import FALLBACK, Decoding
from audiosae_steer.evaluate.transcription.subtitles import write_transcript
from audiosae_steer.evaluate.transcription.transcribe import (
    DecodedWindow,
    Segment,
    Transcript,
    transcribe,
    transcribe_batch,
)
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
RIVER = "We walked along the river until the sun went down."
MEETING = "The meeting was moved to Thursday."
BAKERY = "There is a small bakery on the corner of our street."
LONG = ((0.5, "speech-04", RIVER), (17.0, "speech-08", MEETING), (35.0, "speech-06", BAKERY))


def clip(name: str) -> np.ndarray:
    return load_audio(CLIPS / f"{name}.flac")


@pytest.fixture(scope="module")
def processor():
    return load_processor("tiny.en")


@pytest.fixture(scope="module")
def long_samples() -> np.ndarray:
    """40 s with three sentences, in the first, the first and the second half minute."""
    samples = np.zeros(40 * 16_000, dtype=np.float32)
    for start, name, _ in LONG:
        said = clip(name)
        samples[int(start * 16_000) :][: len(said)] = said
    return samples


@pytest.fixture(scope="module", params=["openai", "transformers"])
def either(request) -> tuple[Any, Any]:
    """A model of either library, and its processor where it needs one."""
    if request.param == "openai":
        return request.getfixturevalue("tiny_en"), None
    return request.getfixturevalue("tiny_en_hf"), request.getfixturevalue("processor")


def test_both_libraries_give_the_text_and_its_place(either):
    model, processor = either
    seen: list[tuple[float, float]] = []
    samples = clip("speech-04")
    said = transcribe(model, samples, processor=processor, progress=lambda heard, of: seen.append((heard, of)))
    assert said.text == RIVER
    assert said.language == "en"
    assert "".join(segment.text for segment in said.segments).strip() == RIVER
    assert said.segments[0].start == 0
    assert said.segments[-1].end == pytest.approx(len(samples) / 16_000, abs=0.5)
    assert [of for _, of in seen] == [len(samples) / 16_000] * len(seen)
    assert seen[0][0] == 0
    assert seen[-1][0] == len(samples) / 16_000
    assert count_hooks(model) == 0


def test_without_timestamps_the_text_is_the_same(either):
    model, processor = either
    said = transcribe(model, clip("speech-04"), processor=processor, timestamps=False)
    assert said.text == RIVER
    assert len(said.segments) == 1


def test_clear_speech_needs_no_retry(either):
    model, processor = either
    said = transcribe(model, clip("speech-08"), processor=processor, filters=True, temperature=FALLBACK)
    assert said.text == MEETING


def test_a_long_recording_is_transcribed_to_its_end(either, long_samples):
    model, processor = either
    seen: list[tuple[float, float]] = []
    said = transcribe(model, long_samples, processor=processor, progress=lambda heard, of: seen.append((heard, of)))
    for start, _, text in LONG:
        assert text in said.text
        here = next(segment for segment in said.segments if text.split()[-1] in segment.text)
        assert start - 1.5 < here.end
        assert here.start < start + 5
    assert all(a.start <= b.start for a, b in pairwise(said.segments))
    heard = [so_far for so_far, _ in seen]
    assert heard == sorted(heard)
    assert len(heard) >= 3
    assert (heard[0], heard[-1]) == (0, 40)
    if said.windows is not None:
        assert len(said.windows) >= 2
        assert {segment.window for segment in said.segments} <= {window.start for window in said.windows}
        assert said.windows[0].start == 0
        assert said.windows[-1].start < 40


def test_a_stereo_file_at_44_kHz_is_transcribed(tiny_en, tmp_path):
    said = soxr.resample(clip("speech-08"), 16_000, 44_100)
    soundfile.write(tmp_path / "a.wav", np.stack([said, 0.5 * said], axis=1), 44_100)
    assert transcribe(tiny_en, tmp_path / "a.wav").text == MEETING
    with pytest.raises(AudioError, match="there is no audio file"):
        transcribe(tiny_en, str(tmp_path / "b.wav"))


def test_the_filters_afterwards_are_those_of_whisper(tiny_en):
    off = transcribe(tiny_en, clip("fan"))
    on = transcribe(tiny_en, clip("fan"), filters=True)
    assert off.text
    assert on == off.filtered() == Transcript("", (), "en", ())


def test_the_filters_of_a_long_recording(tiny_en, long_samples):
    fan = np.concatenate([long_samples[: 4 * 16_000], np.zeros(26 * 16_000, np.float32), clip("fan")])
    on = transcribe(tiny_en, fan, filters=True)
    off = transcribe(tiny_en, fan, filters=False)
    assert on.text == RIVER
    assert off.text.startswith(RIVER)
    assert off.text != RIVER
    assert off.filtered() == on


def test_the_filters_of_transformers(tiny_en_hf, processor):
    off = transcribe(tiny_en_hf, clip("fan"), processor=processor)
    assert off.text
    assert transcribe(tiny_en_hf, clip("fan"), processor=processor, filters=True).text == ""
    with pytest.raises(SteeringError, match="transcribe again with filters=True"):
        off.filtered()


def test_filtering_drops_the_text_of_a_dropped_window():
    windows = (
        DecodedWindow(0, 0.1, -0.3),
        DecodedWindow(28.0, 0.7, -1.2),
        DecodedWindow(40.0, 0.1, -0.3),
        DecodedWindow(58.0, 0.9, -0.9),
    )
    segments = tuple(Segment(w.start, w.start + 2, f" {n}", w.start) for n, w in enumerate(windows))
    said = Transcript("0 1 2 3", segments, "en", windows)
    # the model would have gone on 30 s after the window it dropped, so that the one from 40 s is not heard
    left = said.filtered()
    assert left == Transcript("0 3", (segments[0], segments[3]), "en", (windows[0], windows[3]))
    assert left.filtered() == left
    assert said.filtered(no_speech=0.8) == said
    assert said.filtered(logprob=-1.3) == said
    assert said.filtered(no_speech=0.0, logprob=0.0) == Transcript("", (), "en", ())


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.zeros(0, np.float32), "shape \\(0,\\)"),
        ([], "shape \\(0,\\)"),
        (np.float32(1), "shape \\(\\)"),
        (np.zeros((16_000, 2), np.float32), "shape \\(16000, 2\\)"),
        (np.zeros(16_000, np.int16), "not int16; divide int16 samples by 32768"),
        (np.array([0, np.nan, 0], np.float32), "NaN"),
        (np.array([0, -np.inf, 0], np.float32), "infinite"),
    ],
)
def test_samples_that_are_none_are_refused(tiny_en, samples, says):
    with pytest.raises(AudioError, match=says):
        transcribe(tiny_en, samples)


def test_a_fraction_of_a_second_is_enough(tiny_en):
    assert isinstance(transcribe(tiny_en, np.zeros(1, np.float32)).text, str)


def test_what_is_missing_is_named(tiny_en_hf, tiny_en):
    with pytest.raises(SteeringError, match="processor=load_processor"):
        transcribe(tiny_en_hf, clip("speech-08"))
    with pytest.raises(SteeringError, match="temperature is an empty sequence"):
        transcribe(tiny_en, clip("speech-08"), temperature=())


def test_an_error_while_it_runs_leaves_no_hook(either):
    model, processor = either

    def stop(heard: float, of: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcribe(model, clip("speech-08"), processor=processor, progress=stop)
    assert count_hooks(model) == 0


@pytest.mark.parametrize("library", ["openai", "transformers"])
def test_a_transcript_holds_what_the_gate_decided_for_each_window(
    tiny_en: Any, tiny_en_hf: Any, library: str, tmp_path: Path
) -> None:
    clips = [load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in ("rain", "speech-01", "footsteps")]
    long = np.concatenate([np.pad(clip, (0, 480_000 - len(clip))) for clip in clips[:2]] + clips[2:])
    model = tiny_en if library == "openai" else tiny_en_hf
    processor = None if library == "openai" else load_processor("tiny.en")
    with steer(model, "no-false-speech") as steering:
        said = transcribe(model, long, processor=processor)
        warmer = transcribe(model, long, processor=processor, temperature=(0.0, 0.2), filters=True)
        threshold = steering.threshold
    clip_gates = [event for event in said.gates if event.kind == "clip"]
    assert [(event.start, event.opened) for event in clip_gates] == [(0.0, True), (30.0, False), (60.0, True)]
    assert said.gates[-1].end == pytest.approx(len(long) / 16_000)
    assert [event.start for event in warmer.gates] == [0.0, 0.0, 30.0, 30.0, 60.0, 60.0]
    content = json.loads(write_transcript(said, tmp_path / "a.json").read_text())
    assert [gate["opened"] for gate in content["gates"] if gate["gate"] == "clip"] == [True, False, True]
    first = content["gates"][0]
    assert (first["gate"], first["site"], first["threshold"]) == ("clip", "encoder layer 4", threshold)
    assert first["score"] > threshold
    assert first["spans"] == [[0.0, 30.0]]
    assert transcribe(model, clips[0], processor=processor).gates == ()


def test_each_recording_of_a_batch_reads_as_alone(tiny_en_hf, processor, long_samples):
    """In transformers, which decodes them together; openai-whisper takes one after the other."""
    model = tiny_en_hf
    recordings = [clip("speech-04"), long_samples, clip("speech-08")]
    decoding = Decoding(word_timestamps=True)
    together = transcribe_batch(model, recordings, decoding, processor=processor)
    alone = [transcribe_batch(model, [each], decoding, processor=processor)[0] for each in recordings]
    assert [said.text for said in together] == [said.text for said in alone]
    assert (together[0].text, together[2].text) == (RIVER, MEETING)
    for said, lone in zip(together, alone, strict=True):
        for segment, other in zip(said.segments, lone.segments, strict=True):
            assert "".join(word.text for word in segment.words).strip() == segment.text.strip()
            times = [(word.start, word.end) for word in segment.words]
            np.testing.assert_allclose(times, [(word.start, word.end) for word in other.words], atol=0.1)
    late = next(word for segment in together[1].segments for word in segment.words if "bakery" in word.text)
    assert 35 < late.start < late.end < 38  # seconds of the recording, not of its window


def test_decoding_that_cannot_be_is_refused(tiny_en):
    for wrong, says in (({"beam_size": 0}, "at least 1"), ({"task": "sing"}, "transcribe or translate")):
        with pytest.raises(SteeringError, match=says):
            Decoding(**wrong)
    with pytest.raises(SteeringError, match="knows English alone"):
        transcribe_batch(tiny_en, [clip("speech-08")], Decoding(task="translate"))


def test_a_windows_only_segment_begins_where_the_model_says(either):
    """Both libraries let it begin with the window, through ten seconds of noise."""
    model, processor = either
    noise, speech = (load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in ("rain", "speech-01"))
    mixed = np.concatenate([np.resize(noise, 160_000), speech])
    with steer(model, "no-false-speech"):
        found = transcribe(model, mixed, processor=processor).segments
        if processor is None:
            upstream = model.transcribe(mixed, fp16=False, condition_on_previous_text=False)["segments"]
        else:
            upstream = model.generate(
                processor(mixed, sampling_rate=16_000, return_tensors="pt").input_features, return_timestamps=True,
                return_segments=True,
            )["segments"][0]  # fmt: skip
    assert upstream[0]["start"] == 0.0
    assert 9.0 < found[0].start < 11.0
    assert found[0].start < found[0].end
