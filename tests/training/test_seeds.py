"""Trainings of several seeds on one cache: the same activations, checkpoints of each, and the SAEs that each makes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from make import make_openai

from audiosae_steer import SAE
from audiosae_steer.cli.interrupt import kept
from audiosae_steer.data.activations import extraction
from audiosae_steer.errors import SteeringError
from audiosae_steer.training import train as training
from audiosae_steer.training.settings import TrainOptions, TrainSettings
from audiosae_steer.training.train import train

pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
SMALL = TrainSettings(n_features=40, k=4, batch=64, steps=6, seed=0)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for name in "abcd":
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(48_000), 16_000)
    return folder


def trained(sounds: Path, out: Path, seed: int, cache: Path, collect_seed: int = 0) -> SAE:
    options = TrainOptions(cache=cache, collect_seed=collect_seed)
    return train(
        make_openai(d=24), 2, [sounds], out, settings=replace(SMALL, seed=seed), options=options, progress=False
    )


def test_two_seeds_share_a_cache_and_learn_what_they_learn_alone(sounds, tmp_path, monkeypatch) -> None:
    shared = tmp_path / "shared"
    alone = {seed: trained(sounds, tmp_path / "alone.safetensors", seed, tmp_path / f"own-{seed}") for seed in (0, 1)}
    first = trained(sounds, tmp_path / "a.safetensors", 0, shared)
    with monkeypatch.context() as patch:
        patch.setattr(extraction, "residuals", None)  # all is collected
        second = trained(sounds, tmp_path / "b.safetensors", 1, shared)
    assert (first.digest(), second.digest()) == (alone[0].digest(), alone[1].digest())
    assert first.digest() != second.digest()
    assert first.info["frames"] == second.info["frames"]
    for seed, folder in ((0, shared / "layer-2"), (1, shared / "layer-2" / "seed-1")):
        content = json.loads((folder / "step-0000006" / "settings.json").read_text())
        assert content["seed"] == seed
        said = kept("train", {"cache": shared, "out": tmp_path / "a.safetensors", "seed": seed})
        assert "a checkpoint of step 6" in said
    assert "checkpoint" not in kept("train", {"cache": shared, "out": tmp_path / "a.safetensors", "seed": 2})


def test_either_of_them_resumes_where_it_was(sounds, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    for seed in (0, 1):
        trained(sounds, tmp_path / "a.safetensors", seed, tmp_path / "cache")
    seen: list[int] = []
    batch_of = training.ShuffledBatches.batch_of
    monkeypatch.setattr(
        training.ShuffledBatches, "batch_of", lambda self, step: seen.append(step) or batch_of(self, step)
    )
    for seed in (0, 1):
        trained(sounds, tmp_path / "a.safetensors", seed, tmp_path / "cache")
    assert seen == []  # both are done, neither in the other's way


def test_other_frames_are_another_cache(sounds, tmp_path) -> None:
    trained(sounds, tmp_path / "a.safetensors", 0, tmp_path / "cache")
    with pytest.raises(SteeringError, match=r"other settings \(seed\); give another folder"):
        trained(sounds, tmp_path / "a.safetensors", 1, tmp_path / "cache", collect_seed=1)
