"""Timestamp gates: frame labels by hand, and a gate of real features that tells the bundled speech from noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiosae_steer import AudioError, GateError, load_audio, load_sae
from audiosae_steer.discover.gates.fit_timestamps import frame_labels, make_timestamp_gate, mixed_windows
from audiosae_steer.discover.gates.labelled_frames import LabelledClips
from audiosae_steer.discover.gates.settings import TimestampGateSettings
from audiosae_steer.evaluate.benchmark.long_recordings import PAUSE, SPEECH, LongFile, Piece
from audiosae_steer.evaluate.benchmark.mixed_recordings import mix
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"


def windows(seed: int, count: int, part: int) -> list[LongFile]:
    """Windows of every other of the bundled clips."""
    known = json.loads((CLIPS / "clips.json").read_text())
    spoken = [each for each in known if each["kind"] == "speech"][part::2]
    noises = [each for each in known if each["kind"] != "speech"][part::2]
    utterances = [(load_audio(CLIPS / each["file"]), each["text"]) for each in spoken]
    sounds = {each["label"]: [load_audio(CLIPS / each["file"])] for each in noises}
    return [mix(utterances, sounds, seed + n).mixed for n in range(count)]


def test_frames_are_labelled_by_what_is_known_of_them() -> None:
    window = LongFile(
        np.zeros(10 * 16_000, np.float32),
        (
            Piece(0.0, 2.0, None, "noise"),
            Piece(2.0, 4.0, "one", SPEECH),
            Piece(4.0, 4.5, None, PAUSE),
            Piece(4.5, 6.0, "two", SPEECH),
            Piece(6.0, 10.0, None, "music"),
        ),
    )
    found = frame_labels(window, 1500)
    expected = np.full(1500, -1)
    expected[0:92] = 0  # up to 1.85 s
    expected[100:200] = 1
    expected[225:300] = 1
    expected[308:500] = 0  # from 6.15 s
    expected[508:] = 0  # the padding
    np.testing.assert_array_equal(found, expected)


def test_a_gate_of_few_features_tells_speech_from_noise(tiny_en: Any, tmp_path: Path) -> None:
    sae = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()
    settings = TimestampGateSettings(max_features=24, budget=0.02)
    fit, place = windows(0, 6, 0), windows(100, 3, 1)
    gate = make_timestamp_gate(tiny_en, sae, 4, fit, place, settings=settings, cache=tmp_path, progress=False)
    assert 0 < len(gate.features) <= 24
    assert gate.reach == settings.reach
    found = gate.calibration
    assert found["auc"] > 0.97
    assert 0 < found["open_present"] <= 0.02  # pauses do not count
    assert found["open_absent"] > 0.6
    again = make_timestamp_gate(tiny_en, sae, 4, fit, place, settings=settings, cache=tmp_path, progress=False)
    assert again == gate


def test_windows_that_cannot_be_used_are_refused(tiny_en: Any) -> None:
    sae = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()
    long = LongFile(np.zeros(31 * 16_000, np.float32), (Piece(0.0, 31.0, None, "noise"),), "a")
    with pytest.raises(GateError, match="'a' is longer than 30 s"):
        make_timestamp_gate(tiny_en, sae, 4, [long], [long], progress=False)
    with pytest.raises(GateError, match="others to place"):
        make_timestamp_gate(tiny_en, sae, 4, [long], [], progress=False)


def test_windows_of_clips_alternate_speech_and_sounds() -> None:
    rng = np.random.default_rng(0)
    voice, long, noise, silent = (rng.standard_normal(n).astype(np.float32) for n in (32_000, 500_000, 16_000, 16_000))
    clips = LabelledClips([noise, silent * 0], [voice, silent * 0, long])
    found = mixed_windows(clips, 4, seed=3)
    assert [window.seconds for window in found] == [30.0] * 4
    assert all(window.speech and window.gaps for window in found)
    assert max(p.end - p.start for window in found for p in window.speech) <= 12.001
    again = mixed_windows(clips, 4, seed=3)
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(found, again, strict=True))
    with pytest.raises(AudioError, match="at least one utterance"):
        mixed_windows(LabelledClips([noise], [silent * 0]), 1)
