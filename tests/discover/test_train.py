from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audiosae_steer import load_sae
from audiosae_steer.discover import train as training
from audiosae_steer.discover.collect import Activations
from audiosae_steer.discover.train import Settings, measure, train, train_sae
from audiosae_steer.errors import MissingExtraError, SteeringError

SMALL = Settings(n_features=48, k=3, steps=240, batch=128, lr=5e-3, seed=3)


def sparse_frames(count: int, seed: int, d: int = 16, directions: int = 24, active: int = 3) -> torch.Tensor:
    """Frames that are what an SAE supposes: few of many directions at a time, an offset, and a little noise."""
    truth = torch.nn.functional.normalize(torch.randn(directions, d, generator=torch.Generator().manual_seed(0)), dim=1)
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, directions, generator=g).topk(active).indices
    f = torch.zeros(count, directions).scatter(1, chosen, 1 + torch.rand(count, active, generator=g))
    return (5 * f @ truth + 2 + 0.05 * torch.randn(count, d, generator=g)).half()


@pytest.fixture(scope="module")
def frames() -> Activations:
    return Activations(sparse_frames(6000, 1), sparse_frames(1000, 2))


@pytest.fixture
def sae_lens() -> None:
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")


@pytest.fixture(scope="module")
def trained(frames):
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    return train_sae(frames, SMALL, progress=False)


def test_training_lowers_the_error_on_held_out_frames(trained, frames):
    start = train_sae(frames, SMALL._replace(steps=2), progress=False)
    assert trained.info["held_out"]["fvu"] < 0.3 * start.info["held_out"]["fvu"]
    assert trained.info["held_out"]["fvu"] == pytest.approx(trained.fvu(frames.held_out), rel=1e-3)


def test_the_threshold_lets_about_k_features_fire(trained, frames):
    assert trained.has_own_gates
    assert measure(trained, frames.train).l0 == pytest.approx(SMALL.k, rel=0.05)
    assert trained.info["held_out"]["l0"] == pytest.approx(SMALL.k, rel=0.15)


def test_typical_is_the_mean_where_a_feature_fires(trained, frames):
    f = trained.encode(frames.train)
    mean = f.sum(0) / (f > 0).sum(0).clamp(min=1)
    torch.testing.assert_close(trained.typical, mean, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_sae_and_another_seed_does_not(trained, frames):
    again = train_sae(frames, SMALL, progress=False)
    other = train_sae(frames, SMALL._replace(seed=4), progress=False)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(trained.W_enc, other.W_enc)


def test_an_interrupted_training_goes_on_to_the_same_sae(trained, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 50)
    batch_of = training._Order.batch_of

    def interrupted(self, step):
        if step == 130:
            raise KeyboardInterrupt
        return batch_of(self, step)

    monkeypatch.setattr(training._Order, "batch_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_sae(frames, SMALL, checkpoints=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000100"]
    seen = []
    monkeypatch.setattr(training._Order, "batch_of", lambda self, step: seen.append(step) or batch_of(self, step))
    resumed = train_sae(frames, SMALL, checkpoints=tmp_path, progress=False)
    assert seen == list(range(100, SMALL.steps))
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_checkpoint_cut_off_while_it_was_written_is_not_taken(trained, frames, tmp_path):
    (tmp_path / "step.part").mkdir()
    (tmp_path / "step.part" / "sae.pt").write_bytes(b"half")
    resumed = train_sae(frames, SMALL, checkpoints=tmp_path, progress=False)
    assert torch.equal(resumed.W_dec, trained.W_dec)


def test_another_trainings_checkpoint_is_refused(sae_lens, frames, tmp_path):
    train_sae(frames, SMALL._replace(steps=4), checkpoints=tmp_path, progress=False)
    with pytest.raises(SteeringError, match="other settings"):
        train_sae(frames, SMALL._replace(steps=4, k=5), checkpoints=tmp_path, progress=False)


def test_conversion_keeps_what_saelens_computes(sae_lens, frames):
    settings = SMALL._replace(steps=30)
    trainer = training._trainer(frames.train, settings)
    scale = training._scale(frames.train)
    order = training._Order(len(frames.train), settings.batch, settings.seed)
    for step in range(30):
        trainer.step(frames.train[order.batch_of(step)].float() * scale)
    ours = training._convert(trainer.sae, settings, scale)
    ours.threshold = None  # then it selects as the trainer does, k per frame over the whole batch
    x = frames.held_out[:256].float()
    with torch.no_grad():
        theirs = trainer.sae(x * scale) / scale
    torch.testing.assert_close(ours(x), theirs, rtol=1e-4, atol=1e-4)


def test_the_scale_brings_the_mean_norm_to_the_root_of_the_width(frames):
    scaled = frames.train.float() * training._scale(frames.train)
    assert float(scaled.norm(dim=-1).mean()) == pytest.approx(4.0, rel=1e-3)


def test_fewer_frames_than_a_batch_are_refused(frames):
    with pytest.raises(SteeringError, match="smaller batch"):
        train_sae(Activations(frames.train[:100], frames.held_out), SMALL, progress=False)


def test_every_pass_takes_every_frame_once():
    order = training._Order(100, 10, seed=1)
    first, second = (torch.cat([order.batch_of(n) for n in range(10 * turn, 10 * turn + 10)]) for turn in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert not torch.equal(first, second)


def test_without_saelens_the_error_names_the_command(frames, monkeypatch):
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiosae-steer\[train\]'"):
        train_sae(frames, SMALL, progress=False)


def test_train_writes_a_file_with_its_provenance(sae_lens, tiny_en, tmp_path):
    import soundfile

    rng = np.random.default_rng(0)
    for n in range(3):
        soundfile.write(tmp_path / f"noise{n}.wav", 0.1 * rng.standard_normal(32_000).astype(np.float32), 16_000)
    settings = Settings(n_features=512, k=8, steps=3, batch=64)
    out = tmp_path / "encoder-2.safetensors"
    sae = train(tiny_en, 2, [tmp_path], out, settings=settings, info={"model": "tiny.en"}, progress=False)
    read = load_sae(out)
    assert (read.n_features, read.d_model, read.gate.kind, read.gate.k) == (512, 384, "batchtopk", 8)
    assert read.W_dec.dtype == torch.float16
    assert read.info == json.loads(json.dumps(sae.info))
    assert read.info["layer"] == 2
    assert read.info["settings"]["steps"] == 3
    assert "sae-lens" in read.info["trainer"]
    assert Path(tmp_path / "encoder-2.cache" / "layer-2" / "step-0000003").is_dir()
