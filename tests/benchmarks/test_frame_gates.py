"""What frame gates are measured on and beside: labels that hold, controls that are as they say, intervals."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from audiosae_steer import SAE, Gate, Normalisation, TimestampGate, load_audio, load_sae
from audiosae_steer.discover.gates.fit_timestamps import frame_labels, make_timestamp_gate
from audiosae_steer.discover.gates.reader import LayerReader
from audiosae_steer.discover.gates.settings import TimestampGateSettings
from audiosae_steer.evaluate.benchmark.long_recordings import PAUSE, SPEECH, LongFile, Piece
from audiosae_steer.evaluate.benchmark.mixed_recordings import SILENCE, mix
from audiosae_steer.steering.recipes.load import checkpoints_dir

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
CLIPS = checkpoints_dir() / "clips"
RATE = 16_000


class Scripts(NamedTuple):
    conditions: Any
    scorers: Any
    gates: Any


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripts]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield Scripts(*(importlib.import_module(name) for name in ("frame_conditions", "frame_scorers", "frame_gates")))
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def window() -> LongFile:
    pieces = (
        Piece(0.0, 4.0, None, SILENCE),
        Piece(4.0, 8.0, "one", SPEECH),
        Piece(8.0, 8.5, None, PAUSE),
        Piece(8.5, 10.0, "two", SPEECH),
        Piece(10.0, 18.0, None, "music"),
        Piece(18.0, 22.0, "three", SPEECH),
        Piece(22.0, 30.0, None, "events"),
    )
    samples = 1e-4 * np.random.default_rng(0).standard_normal(30 * RATE)
    for piece in pieces:
        if piece.text is not None:
            samples[round(piece.start * RATE) : round(piece.end * RATE)] *= 500
    return LongFile(samples.astype(np.float32), pieces)


def second(labels: np.ndarray, start: float, end: float) -> set[int]:
    return set(labels[round(start * 50) : round(end * 50)].tolist())


def test_a_second_speaker_is_heard_only_where_the_first_speaks(scripts: Scripts, window: LongFile) -> None:
    voice = np.sin(np.arange(3 * RATE) * 0.3).astype(np.float32)
    found = scripts.conditions.overlapping(window, {text: [voice] for text in ("one", "two", "three")}, 0)
    np.testing.assert_array_equal(found.labels, frame_labels(window, 1500))
    added = found.samples - window.samples
    for piece in window.pieces:
        own = slice(round(piece.start * RATE), round(piece.end * RATE))
        if piece.text is None:
            assert not added[own].any()
        else:
            beside = 10 * np.log10(np.mean(added[own] ** 2) / np.mean(window.samples[own] ** 2))
            assert -5.2 < beside < 0.2
            assert np.mean(added[own] != 0) > 0.9


def test_what_rings_on_after_speech_counts_as_neither(scripts: Scripts, window: LongFile) -> None:
    found = scripts.conditions.reverberant(window, 0)
    assert found.samples.shape == window.samples.shape
    assert second(found.labels, 4.0, 8.0) == {1}
    assert second(found.labels, 10.0, 10.6) == second(found.labels, 22.0, 22.6) == {-1}
    assert second(found.labels, 10.6, 17.8) == {0}
    assert second(found.labels, 0.0, 3.8) == {0}


def test_labels_of_one_condition_leave_others_out(scripts: Scripts, window: LongFile) -> None:
    labels = frame_labels(window, 1500)
    noisy = scripts.conditions.noisy_only(window, labels)
    assert second(noisy, 4.0, 10.0) == {-1}  # after silence
    assert second(noisy, 18.0, 22.0) == {1}
    assert second(noisy, 0.0, 3.8) == {0}
    music = scripts.conditions.gaps_of("music", window, labels)
    assert second(music, 0.0, 4.0) == second(music, 22.0, 30.0) == {-1}
    assert second(music, 10.2, 17.8) == {0}
    assert second(music, 4.0, 8.0) == {1}
    assert (labels == frame_labels(window, 1500)).all()


@pytest.mark.parametrize(("gate", "threshold"), [("relu", None), (Gate("batchtopk", 4), 0.3)])
def test_random_features_fire_as_often(scripts: Scripts, gate: Any, threshold: float | None) -> None:
    rng = np.random.default_rng(0)
    W, bias = rng.standard_normal((300, 16)), rng.uniform(-6, 2, 300)
    bias[0], bias[1] = -1e4, 1e4  # never, and always
    sae = SAE(
        W, bias, W, rng.standard_normal(16), gate=gate, threshold=threshold, normalisation=Normalisation("scalar", 0.7)
    )
    x = torch.from_numpy(rng.standard_normal((500, 16)) + 0.5).float()
    random = scripts.scorers.random_sae(sae, x)
    fires, control = ((each.encode(x) > 0).sum(0) for each in (sae.float(), random))
    assert torch.equal(fires, control)
    assert (fires[0], fires[1]) == (0, 500)
    torch.testing.assert_close(random.W_enc.norm(dim=1), sae.W_enc.norm(dim=1).float())
    cosine = torch.cosine_similarity(random.W_enc, sae.W_enc.float(), dim=1)
    assert cosine.abs().mean() < 0.4
    assert not torch.equal(random.W_enc, scripts.scorers.random_sae(sae, x, seed=1).W_enc)


def test_controls_are_fitted_as_the_gate_is(scripts: Scripts, tiny_en: Any, tmp_path: Path) -> None:
    known = json.loads((CLIPS / "clips.json").read_text())
    utterances = [(load_audio(CLIPS / each["file"]), each["text"]) for each in known if each["kind"] == "speech"]
    sounds = {each["label"]: [load_audio(CLIPS / each["file"])] for each in known if each["kind"] != "speech"}
    windows = [mix(utterances, sounds, n).mixed for n in range(4)]
    fit, place = windows[:3], windows[3:]
    sae = load_sae(checkpoints_dir() / "whisper-tiny.en" / "encoder-4.safetensors").float()
    settings = TimestampGateSettings(max_features=24)
    gate = make_timestamp_gate(tiny_en, sae, 4, fit, place, settings=settings, cache=tmp_path, progress=False)

    reader = LayerReader(model=tiny_en, sae=sae, layer=4, cache=tmp_path, progress=False)
    frames = scripts.scorers.frames_of(reader, fit, (gate.reach,))
    assert len(frames.residuals) == frames.features[gate.reach].shape[0] == len(frames.absent)
    own = scripts.scorers.sparse_gates(frames.features[gate.reach], frames.absent, [8, 24], gate.reach)
    assert own[24].features == gate.features
    np.testing.assert_allclose(own[24].weights, gate.weights, rtol=1e-4)
    assert len(own[8].features) <= 8

    seen = list(scripts.scorers.seen(reader, [scripts.conditions.labelled(each) for each in place]))
    scorer = scripts.scorers.placed_at(scripts.scorers.gate_scorer("gate", gate, sae), seen, 0.05, gate)
    assert scorer.threshold == pytest.approx(gate.threshold)
    found = scripts.gates.measured(seen, scorer)
    assert found["decided"]["missed"][0] == gate.calibration["open_present"]
    assert found["decided"]["false"][0] == pytest.approx(1 - gate.calibration["open_absent"], abs=2e-5)
    assert found["auc"][0] == gate.calibration["auc"]
    assert found["raw"]["missed"][0] == pytest.approx(0.05, abs=0.005)

    dense = scripts.scorers.dense_probe(frames, seen, 0.05, gate)
    found = scripts.gates.measured(seen, dense)
    assert found["auc"][0] > 0.95
    assert 0 < found["raw"]["missed"][0] < 0.055  # neighbours share their lowest score, and fall together


def test_a_frame_counts_at_its_lowest_score_within_reach(scripts: Scripts) -> None:
    scores = np.array([5.0, 1, 5, 5, 5, 5, 5, 0, 5])
    np.testing.assert_array_equal(scripts.scorers.least(scores, 0.02), [1, 1, 1, 5, 5, 5, 0, 0, 0])


def test_intervals_are_over_windows(scripts: Scripts) -> None:
    assert scripts.gates.share([(1, 4), (1, 4)]) == [0.25, 0.25, 0.25]
    value, low, high = scripts.gates.share([(0, 4), (4, 4), (0, 4), (4, 4)])
    assert (value, low, high) == (0.5, 0.0, 1.0)
    rng = np.random.default_rng(0)
    kinds = [((labels := rng.random(300) < 0.5), ~labels) for _ in range(12)]
    scores = [rng.standard_normal(300) + gap for gap, _ in kinds]
    value, low, high = scripts.gates.area(scores, kinds)
    higher = np.concatenate(scores)
    gap = np.concatenate([each for each, _ in kinds])
    exact = np.mean(higher[gap][:, None] > higher[~gap][None])
    assert value == pytest.approx(exact, abs=1e-5)
    assert exact - 0.04 < low < exact < high < exact + 0.04
    alike = scripts.gates.area(scores[:1] * 5, kinds[:1] * 5)
    assert alike[1] == pytest.approx(alike[2]) == pytest.approx(alike[0], abs=2e-3)


def test_rules_on_what_is_brief_are_the_gates_own(scripts: Scripts) -> None:
    gate = TimestampGate((0,), (1.0,), reach=0.2, least_speech=0.5, least_gap=1.0)
    scores = np.full(300, 1.0)
    scores[100:110] = -1  # a blip of 0.2 s
    scores[200:240] = -1  # speech, with a pause of 0.2 s
    scores[215:225] = 1
    opened = scripts.scorers.by_rules(gate, 0.0)(None, scores)
    np.testing.assert_array_equal(np.flatnonzero(~opened), [])
    scores[170:240] = -1
    scores[200:210] = 1
    opened = scripts.scorers.by_rules(gate, 0.0)(None, scores)
    np.testing.assert_array_equal(np.flatnonzero(~opened), np.arange(170, 240))
