"""Gates fitted on clips: labels of frames, and the fitted gates on unseen clips."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from audiosae_steer import load_audio, load_sae
from audiosae_steer.discover.gates.fit import (
    make_clip_gate,
    make_frame_gate,
)
from audiosae_steer.discover.gates.labelled_frames import (
    FRAME,
    NEAR,
    LabelledClips,
    MixedWindow,
    frames_by_kind,
    mix_window,
)
from audiosae_steer.discover.gates.settings import ClipGateSettings, FrameGateSettings
from audiosae_steer.errors import GateError
from audiosae_steer.evaluate.transcription.from_residuals import encode
from audiosae_steer.steering.gates import FrameProbe, Probe
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = checkpoints_dir() / "clips"
KNOWN = json.loads((CLIPS / "clips.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def kinds():
    """(to fit on, to place on, unseen)."""
    files = {
        kind: [e["file"] for e in KNOWN if (e["kind"] == "speech") == (kind == "present")]
        for kind in LabelledClips._fields
    }
    clips = {kind: [load_audio(CLIPS / name)[: 3 * 16_000] for name in names] for kind, names in files.items()}
    return [LabelledClips(clips["absent"][part::3][:4], clips["present"][part::3][:3]) for part in range(3)]


@pytest.fixture(scope="module")
def sae():
    return load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()


def test_frames_near_loud_ones_are_spoken_and_those_out_of_reach_are_not():
    x = np.zeros(100 * FRAME, np.float32)
    x[40 * FRAME : 50 * FRAME] = 0.5
    x[60 * FRAME : 61 * FRAME] = 0.5 * 10 ** (-40 / 20)  # 40 dB weaker: not loud
    silent, spoken = frames_by_kind(MixedWindow(x, 20 * FRAME, 80 * FRAME), 1500, 5)
    assert spoken.tolist() == list(range(40 - NEAR, 50 + NEAR))
    within = silent[silent < 100]
    assert within.tolist() == [*range(15), *range(86, 100)]
    assert (np.diff(silent[silent >= 100]) == 25).all()  # a few frames of the padding


def test_an_utterance_lies_where_it_is_said_to_between_weaker_sounds():
    rng = np.random.default_rng(0)
    speech = (0.3 * np.sin(np.arange(16_000))).astype(np.float32)
    noise = rng.normal(0, 0.5, 8_000).astype(np.float32)
    for _ in range(8):
        window = mix_window(speech, [noise], rng)
        assert window.stop - window.start == len(speech)
        assert 2 * 16_000 <= window.start <= 5 * 16_000
        around = np.concatenate([window.samples[: window.start], window.samples[window.stop :]])
        assert np.sqrt(np.mean(around**2)) <= 1.01 * np.sqrt(np.mean(speech**2))
    assert len(mix_window(np.ones(480_000, np.float32), [noise], rng).samples) <= 480_000


def test_fitted_gates_tell_unseen_clips_and_frames(tiny_en, sae, kinds, tmp_path):
    fit, place, unseen = kinds
    options = {"cache": tmp_path, "progress": False}
    gate = make_clip_gate(tiny_en, sae, 4, fit, place, settings=ClipGateSettings(max_features=32), **options)
    assert gate.calibration["clips"] == [4, 3]
    assert gate.calibration["open_present"] == 0.0
    assert gate == make_clip_gate(tiny_en, sae, 4, fit, place, settings=ClipGateSettings(max_features=32), **options)
    silent = np.zeros(16_000, np.float32)  # labelled speech, but holds none
    silence = LabelledClips(place.absent, [*place.present, silent])
    held = make_clip_gate(tiny_en, sae, 4, fit, silence, settings=ClipGateSettings(max_features=32), **options)
    spared = make_clip_gate(
        tiny_en, sae, 4, fit, silence, settings=ClipGateSettings(max_features=32, budget=0.3), **options
    )
    assert held.calibration["open_present"] == 0.0 < spared.calibration["open_present"] <= 0.3
    assert spared.threshold < held.threshold
    probe = Probe(gate, sae)

    def opened(clips):
        return [bool(probe(row.float()[None]) > 0) for row in encode(tiny_en, clips, 4, cache=tmp_path, progress=False)]

    assert sum(opened(unseen.absent)) >= 3
    assert not any(opened(unseen.present))

    frames = make_frame_gate(tiny_en, sae, 4, fit, place, settings=FrameGateSettings(max_features=32), **options)
    assert frames.calibration["open_present"] <= 0.002
    read = FrameProbe(frames, sae, 50.0)
    rows = encode(tiny_en, [*unseen.absent, *unseen.present], 4, cache=tmp_path, progress=False)
    shares = [float((read(row.float()[None])[0, :100] > 0).float().mean()) for row in rows]
    assert np.mean(shares[: len(unseen.absent)]) > 0.5
    assert np.mean(shares[len(unseen.absent) :]) < 0.3


def test_without_clips_of_a_kind_there_is_no_gate(tiny_en, sae, kinds):
    none = LabelledClips([], kinds[0].present)
    for make in (make_clip_gate, make_frame_gate):
        with pytest.raises(GateError, match="clips without and with speech"):
            make(tiny_en, sae, 4, none, kinds[1], progress=False)
    assert torch.is_grad_enabled()
