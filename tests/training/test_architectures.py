"""The papers' SAEs: topk by sparsity, a ReLU with an RMSNorm under an L1 loss, and training on means of frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from activations import sparse_frames
from make import make_openai
from torch import nn
from typer.testing import CliRunner

from audiosae_steer import SAE, Gate, load_sae
from audiosae_steer.cli.app import app
from audiosae_steer.data.activations.collect import collect
from audiosae_steer.data.activations.shards import Activations, ShuffledBatches, load_activations
from audiosae_steer.errors import SteeringError
from audiosae_steer.models.sites import Site
from audiosae_steer.ops import reference
from audiosae_steer.sae.quality import measure
from audiosae_steer.training import train as training
from audiosae_steer.training.settings import TrainOptions, TrainSettings
from audiosae_steer.training.train import train, train_sae
from audiosae_steer.training.trainer import as_sae, make_trainer, scale_of

pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
TOPK = TrainSettings(
    n_features=48, architecture="topk", sparsity=0.93, steps=240, batch=128, lr=5e-3, seed=3
)  # int(.07 · 48) = 3
RMS = TrainSettings(n_features=48, architecture="relu-rms", l1=1.0, steps=240, batch=128, lr=5e-3, seed=3)


@pytest.fixture(scope="module")
def frames() -> Activations:
    return Activations(sparse_frames(6000, 1), sparse_frames(1000, 2))


@pytest.fixture(scope="module")
def trained(frames) -> dict[str, SAE]:
    return {each.architecture: train_sae(frames, each, progress=False) for each in (TOPK, RMS)}


@pytest.mark.parametrize("settings", [TOPK, RMS], ids=lambda each: each.architecture)
def test_training_lowers_the_error_on_held_out_frames(settings, trained, frames) -> None:
    sae = trained[settings.architecture]
    start = train_sae(frames, replace(settings, steps=2), progress=False)
    assert sae.info["held_out"]["fvu"] < 0.4 * start.info["held_out"]["fvu"]
    assert sae.info["held_out"]["fvu"] == pytest.approx(sae.fvu(frames.held_out), rel=1e-3)
    assert "threshold_calibration" not in sae.info


def test_k_is_what_the_sparsity_says(trained, frames) -> None:
    sae = trained["topk"]
    assert (sae.gate, sae.threshold) == (Gate("topk", 3), None)
    assert sae.info["settings"]["k"] == 3
    l0 = (sae.encode(frames.held_out.float()) > 0).sum(-1)
    assert int(l0.max()) <= 3
    for share, k in {
        0.75: 512,
        0.8: 409,
        0.85: 307,
        0.9: 204,
        0.95: 102,
        0.99: 20,
    }.items():  # as the paper's code has it
        settings = TrainSettings(n_features=2048, architecture="topk", sparsity=share)
        assert (settings.kept, settings.as_json()["k"]) == (k, k) == (int((1 - share) * 2048),) * 2


def test_l1_makes_it_sparser(frames, trained) -> None:
    light = train_sae(frames, replace(RMS, l1=0.0), progress=False)
    heavy = trained["relu-rms"].info["held_out"]
    assert heavy["l0"] < 0.6 * light.info["held_out"]["l0"]
    assert "k" not in trained["relu-rms"].info["settings"]
    assert trained["relu-rms"].info["settings"]["l1"] == 1.0


@pytest.mark.parametrize("settings", [TOPK, RMS], ids=lambda each: each.architecture)
def test_our_sae_is_the_one_that_was_trained(settings, frames) -> None:
    scale = scale_of(frames.train.float())
    trainer = make_trainer(frames.train.float(), settings, scale)
    order = ShuffledBatches(training.Shards.of(*frames).train, settings.batch, settings.seed)
    for step in range(40):
        trainer.step(order.batch_of(step) * scale)
    ours, x = as_sae(trainer.sae, settings, scale), frames.held_out[:300].float()
    with torch.no_grad():
        theirs = trainer.sae.decode(trainer.sae.encode_with_hidden_pre(x * scale)[0]) / scale
    torch.testing.assert_close(ours(x), theirs, rtol=1e-3, atol=1e-3)
    wanted = reference.encode(x.double()[None], ours.weights(torch.float64))[0]
    torch.testing.assert_close(ours.encode(x).double(), wanted, rtol=1e-3, atol=1e-3)


def test_the_loss_is_the_squared_error_and_l1_ahead_of_the_norm(frames) -> None:
    scale = scale_of(frames.train.float())
    trainer = make_trainer(frames.train.float(), RMS, scale)
    x, sae = frames.train[:128].float() * scale, trainer.sae
    with torch.no_grad():
        h = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc).relu()
        f = nn.functional.rms_norm(h, (48,), eps=1e-6)
        wanted = (x - f @ sae.W_dec - sae.b_dec).square().sum(-1).mean() + RMS.l1 * h.sum(-1).mean()
    assert float(trainer.step(x).loss.detach()) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("settings", [TOPK, RMS], ids=lambda each: each.architecture)
def test_an_interrupted_training_resumes_to_the_same_sae(settings, trained, frames, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 50)
    batch_of = ShuffledBatches.batch_of

    def interrupted(self: Any, step: int) -> Any:
        if step == 130:
            raise KeyboardInterrupt
        return batch_of(self, step)

    monkeypatch.setattr(ShuffledBatches, "batch_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_sae(frames, settings, checkpoints=tmp_path, progress=False)
    monkeypatch.undo()
    resumed = train_sae(frames, settings, checkpoints=tmp_path, progress=False)
    assert resumed.digest() == trained[settings.architecture].digest()


def test_a_training_goes_on_from_its_own_kind_alone(trained, frames) -> None:
    again = train_sae(frames, replace(RMS, steps=2, lr=1e-6), start=trained["relu-rms"], progress=False)
    assert again.info["held_out"]["fvu"] == pytest.approx(trained["relu-rms"].info["held_out"]["fvu"], rel=0.05)
    with pytest.raises(SteeringError, match="continues from a rms SAE"):
        train_sae(frames, RMS, start=trained["topk"], progress=False)
    with pytest.raises(SteeringError, match="epsilon 1e-06 and gain 1"):
        train_sae(frames, RMS, start=trained["relu-rms"].altered(gain=2.0), progress=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sparsity": 1.0}, "from 0 to below 1"),
        ({"sparsity": 0.99, "n_features": 48}, "leaves none of 48"),
        ({"sparsity": 0.9, "architecture": "relu-rms"}, "give l1"),
        ({"l1": -1.0}, "l1 is -1"),
        ({"pool": "max"}, "frames or mean"),
        ({"pool_seconds": 31.0}, "0.25 to 30"),
        ({"architecture": "relu"}, "topk or relu-rms"),
    ],
)
def test_settings_out_of_their_range_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SteeringError, match=says):
        TrainSettings(**change)


def test_the_settings_of_other_trainings_are_what_they_were() -> None:
    """Of files and checkpoints that are there already."""
    assert set(TrainSettings().as_json()) == {
        "n_features", "k", "steps", "batch", "lr", "seed", "architecture", "widths", "buffer",
    }  # fmt: skip


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for number, seconds in enumerate((12.0, 7.3, 5.1, 3.0)):  # of 5.1 s, a rest of .1 s is left out
        soundfile.write(folder / f"{'abcd'[number]}.wav", 0.1 * rng.standard_normal(int(16000 * seconds)), 16000)
    return folder


def kept(folder: Path, site: Site) -> torch.Tensor:
    found = load_activations(folder, site)
    return torch.cat([found.train, found.held_out]).float()


def test_a_stretch_is_one_vector_the_mean_of_its_own_frames(sounds, tmp_path) -> None:
    model = make_openai(d=24)
    collect(model, [sounds], [2], tmp_path / "means", augment=False, pool_seconds=5.0, progress=False)
    means = kept(tmp_path / "means", Site(2))
    assert len(means) == 3 + 2 + 1 + 1
    # by hand: 5 s of a file by themselves, of whose window of 30 s the rest is padding
    wav, _ = soundfile.read(sounds / "b.wav", dtype="float32")
    soundfile.write(tmp_path / "part.wav", wav[80000:], 16000)
    from audiosae_steer.data.activations.capture import residuals

    written, _ = soundfile.read(tmp_path / "part.wav", dtype="float32")
    row = residuals(model, [written], [2])[2][0]
    own = row[:115].mean(0)  # 2.3 s
    assert float((means - own).abs().amax(1).min()) < 2e-3
    assert float((means - row.mean(0)).abs().amax(1).min()) > 0.05  # with padding, as zeros would be in it
    with pytest.raises(SteeringError, match="pool_seconds"):
        collect(model, [sounds], [2], tmp_path / "means", augment=False, progress=False)
    with pytest.raises(SteeringError, match="0.25 to 30"):
        collect(model, [sounds], [2], tmp_path / "none", pool_seconds=0.1, progress=False)


def test_tokens_of_no_time_are_in_no_mean(sounds, tmp_path) -> None:
    from families import ast

    model, one = ast(), [sounds / "d.wav"]  # 3 s: two tokens, then 3 rows of 30 patches
    collect(model, one, [Site(2)], tmp_path / "frames", augment=False, progress=False)
    collect(model, one, [Site(2)], tmp_path / "means", augment=False, pool_seconds=30.0, progress=False)
    every, means = kept(tmp_path / "frames", Site(2)), kept(tmp_path / "means", Site(2))
    assert every.shape == (92, 24)
    torch.testing.assert_close(means[0], every[2:].mean(0), rtol=2e-3, atol=5e-4)
    assert float((means[0] - every.mean(0)).abs().max()) > 0.005


@pytest.mark.filterwarnings("ignore")
def test_the_command_trains_on_means(sounds, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("audiosae_steer.models.load.load_model", lambda name, **more: make_openai(d=24))
    out = tmp_path / "pooled.safetensors"
    result = CliRunner().invoke(
        app,
        ["train", "--layer", "2", "--audio", str(sounds), "--out", str(out), "--pool", "mean", "--pool-seconds", "1",
         "--architecture", "topk", "--sparsity", ".95", "--n-features", "40", "--batch", "8", "--steps", "4"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    sae = load_sae(out)
    assert sae.gate == Gate("topk", 2)
    assert sae.info["settings"]["pool_seconds"] == 1.0
    assert sae.info["frames"]["train"] + sae.info["frames"]["held_out"] == 12 + 8 + 5 + 3
    card = out.with_suffix(".md").read_text()
    assert "of at most 1 s" in card
    assert "threshold" not in card.split("## Use it")[0]


def test_an_rms_training_writes_its_file_curve_and_card(sounds, tmp_path) -> None:
    settings = TrainSettings(n_features=40, architecture="relu-rms", batch=64, steps=4)
    out = tmp_path / "rms.safetensors"
    made = train(
        make_openai(d=24), 2, [sounds], out, settings=settings, options=TrainOptions(info={"model": "small"}),
        progress=False,
    )  # fmt: skip
    back = load_sae(out)
    assert back.gate == Gate("rms", epsilon=1e-6)
    assert torch.equal(back.gain, torch.ones((), dtype=torch.float16))
    assert back.digest() == made.digest()
    card = out.with_suffix(".md").read_text()
    assert "ReLU and RMSNorm under an L1 loss" in card
    assert "λ = 0.05, ε = 1e-06; with the typical activation" in card
    assert out.with_suffix(".png").is_file()
    result = CliRunner().invoke(app, ["inspect", str(out)])
    assert "rms, epsilon = 1e-06, gain 1" in result.output
    assert measure(back, kept(tmp_path / "rms.cache" / "activations", Site(2))).l0 > 0
