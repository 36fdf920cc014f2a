"""Training: what comes of it, that it resumes after an interruption to the same result, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from activations import sparse_frames, write_shards

from audiosae_steer import SAE, NeverCalledWarning, Normalisation, load_sae, steer
from audiosae_steer.data.activations.shards import Activations, ShuffledBatches, open_shards
from audiosae_steer.data.windows import windows_of
from audiosae_steer.errors import MissingExtraError, SiteError, SteeringError, UnknownModelError
from audiosae_steer.models.sites import Site
from audiosae_steer.sae.quality import measure, nested_fvu
from audiosae_steer.steering.edits import Ablate
from audiosae_steer.training import train as training
from audiosae_steer.training.settings import TrainOptions, TrainSettings
from audiosae_steer.training.train import train, train_sae
from audiosae_steer.training.trainer import as_sae, make_trainer, scale_of

SMALL = TrainSettings(n_features=48, k=3, steps=240, batch=128, lr=5e-3, seed=3)
NESTED = replace(SMALL, architecture="matryoshka", widths=(6, 12, 24))


@pytest.fixture(scope="module")
def frames() -> Activations:
    return Activations(sparse_frames(6000, 1), sparse_frames(1000, 2))


@pytest.fixture(scope="module")
def folder(frames, tmp_path_factory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), *frames, shards=5)


@pytest.fixture
def sae_lens() -> Any:
    return pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")


@pytest.fixture(scope="module")
def trained(folder):
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    return train_sae(open_shards(folder, 2), SMALL, progress=False)


@pytest.fixture(scope="module")
def nested(folder):
    pytest.importorskip("sae_lens", reason="SAELens (extra [train]) is not installed")
    return train_sae(open_shards(folder, 2), NESTED, progress=False)


def same(a: SAE, b: SAE) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("settings", [SMALL, NESTED], ids=["batchtopk", "matryoshka"])
def test_training_lowers_the_error_on_held_out_frames(settings, trained, nested, frames):
    sae = trained if settings is SMALL else nested
    start = train_sae(frames, replace(settings, steps=2), progress=False)
    assert sae.info["held_out"]["fvu"] < 0.4 * start.info["held_out"]["fvu"]
    assert sae.info["held_out"]["fvu"] == pytest.approx(sae.fvu(frames.held_out), rel=1e-3)


def test_the_threshold_lets_about_k_features_fire(trained, nested, frames):
    for sae in (trained, nested):
        assert sae.has_own_gates
        assert measure(sae, frames.train).l0 == pytest.approx(SMALL.k, rel=0.05)
        assert sae.info["held_out"]["l0"] == pytest.approx(SMALL.k, rel=0.15)


def test_typical_is_the_mean_where_a_feature_fires(trained, frames):
    f = trained.encode(frames.train)
    mean = f.sum(0) / (f > 0).sum(0).clamp(min=1)
    torch.testing.assert_close(trained.typical, mean, rtol=1e-4, atol=1e-5)


def test_a_matryoshkas_first_features_explain_by_themselves(trained, nested, frames):
    """Those of a plain one are a random few of all."""
    of_nested = nested_fvu(nested, frames.held_out, (6, 12, 24, 48))
    of_plain = nested_fvu(trained, frames.held_out, (6, 12, 24, 48))
    assert of_nested[12] < 0.8 * of_plain[12]
    assert of_nested[6] > of_nested[12] > of_nested[24] > of_nested[48] * 0.999
    assert {int(width): fvu for width, fvu in nested.info["nested_fvu"].items()} == pytest.approx(of_nested)
    assert "nested_fvu" not in trained.info
    assert nested.info["settings"]["widths"] == [6, 12, 24, 48]


def test_the_same_seed_gives_the_same_sae_and_another_seed_does_not(trained, folder):
    assert same(trained, train_sae(open_shards(folder, 2), SMALL, progress=False))
    other = train_sae(open_shards(folder, 2), replace(SMALL, seed=4), progress=False)
    assert not torch.equal(trained.W_enc, other.W_enc)


@pytest.mark.parametrize("settings", [SMALL, NESTED], ids=["batchtopk", "matryoshka"])
def test_an_interrupted_training_resumes_to_the_same_sae(settings, trained, nested, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 50)
    batch_of = ShuffledBatches.batch_of

    def interrupted(self, step):
        if step == 130:
            raise KeyboardInterrupt
        return batch_of(self, step)

    monkeypatch.setattr(ShuffledBatches, "batch_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_sae(open_shards(folder, 2), settings, checkpoints=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000100"]
    seen = []
    monkeypatch.setattr(ShuffledBatches, "batch_of", lambda self, step: seen.append(step) or batch_of(self, step))
    resumed = train_sae(open_shards(folder, 2), settings, checkpoints=tmp_path, progress=False)
    assert seen == list(range(100, SMALL.steps))
    assert same(resumed, trained if settings is SMALL else nested)
    history = json.loads((tmp_path / "step-0000240" / "history.json").read_text())
    assert [row["step"] for row in history] == list(range(12, 241, 12))


def test_a_checkpoint_cut_off_while_it_was_written_is_not_taken(trained, folder, tmp_path):
    (tmp_path / "step.part").mkdir()
    (tmp_path / "step.part" / "sae.pt").write_bytes(b"half")
    assert same(trained, train_sae(open_shards(folder, 2), SMALL, checkpoints=tmp_path, progress=False))


def test_another_trainings_checkpoint_is_refused_and_a_damaged_one_named(sae_lens, folder, tmp_path):
    short = replace(SMALL, steps=4)
    train_sae(open_shards(folder, 2), short, checkpoints=tmp_path, progress=False)
    with pytest.raises(SteeringError, match=r"other settings \(k, seed\); give another folder"):
        train_sae(open_shards(folder, 2), replace(short, k=5, seed=1), checkpoints=tmp_path, progress=False)
    path = tmp_path / "step-0000004" / "sae.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SteeringError, match="step-0000004 is damaged"):
        train_sae(open_shards(folder, 2), short, checkpoints=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("settings.json", "[]"),
        ("settings.json", "null"),
        ("history.json", "[1]"),
        ("history.json", '[{"step": 4}]'),
        ("history.json", "1"),
    ],
)
def test_a_checkpoint_that_holds_something_else_is_damaged(file, content, sae_lens, frames, tmp_path):
    short = replace(SMALL, steps=4)
    train_sae(frames, short, checkpoints=tmp_path, progress=False)
    (tmp_path / "step-0000004" / file).write_text(content)
    with pytest.raises(SteeringError, match=r"step-0000004 is damaged .*; remove it to start anew"):
        train_sae(frames, short, checkpoints=tmp_path, progress=False)


def test_where_the_disk_is_full_the_checkpoint_before_stays(sae_lens, frames, tmp_path, monkeypatch):
    resource = pytest.importorskip("resource", reason="a limit on the size of files stands for the full disk")
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    batch_of, usual = ShuffledBatches.batch_of, resource.getrlimit(resource.RLIMIT_FSIZE)
    room = 0

    def fills(self, step):
        if step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
        return batch_of(self, step)

    expected = train_sae(frames, replace(SMALL, steps=6), progress=False)
    monkeypatch.setattr(ShuffledBatches, "batch_of", fills)
    for room in (0, 4000, 10_000):
        try:
            with pytest.raises(
                SteeringError, match="no checkpoint can be written .*; make room, or give another cache"
            ):
                train_sae(frames, replace(SMALL, steps=6), checkpoints=tmp_path / str(room), progress=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert [path.name for path in (tmp_path / str(room)).iterdir()] == ["step-0000002"]
    monkeypatch.setattr(ShuffledBatches, "batch_of", batch_of)
    assert same(expected, train_sae(frames, replace(SMALL, steps=6), checkpoints=tmp_path / "0", progress=False))


def test_a_checkpoint_of_other_frames_or_of_another_start_is_refused(sae_lens, trained, frames, tmp_path):
    short = replace(SMALL, steps=4)
    first = train_sae(frames, short, checkpoints=tmp_path / "frames", progress=False)
    assert same(first, train_sae(frames, short, checkpoints=tmp_path / "frames", progress=False))
    others = Activations(sparse_frames(6000, 5), frames.held_out)
    with pytest.raises(SteeringError, match=r"other settings \(activations\); give another folder"):
        train_sae(others, short, checkpoints=tmp_path / "frames", progress=False)
    train_sae(frames, short, start=trained, checkpoints=tmp_path / "start", progress=False)
    train_sae(frames, short, start=trained.altered(typical=None), checkpoints=tmp_path / "start", progress=False)
    for change in (
        {"b_enc": trained.b_enc + 0.1},
        {"W_dec": trained.W_dec.flip(0)},
        {"b_dec": trained.b_dec + 0.1},
        {"threshold": trained.threshold + 0.1},
        {"normalisation": Normalisation("scalar", trained.normalisation.scale * 1.01)},
    ):
        with pytest.raises(SteeringError, match=r"other settings \(start\); give another folder"):
            train_sae(frames, short, start=trained.altered(**change), checkpoints=tmp_path / "start", progress=False)


@pytest.mark.parametrize("settings", [SMALL, NESTED], ids=["batchtopk", "matryoshka"])
def test_our_sae_is_the_inference_sae_that_saelens_saves(settings, sae_lens, frames, tmp_path):
    """Its own file, read by its own code and by our reader, and our conversion of its trainer: one function."""
    settings = replace(settings, steps=60)
    scale = scale_of(frames.train.float())
    trainer = make_trainer(frames.train.float(), settings, scale)
    order = ShuffledBatches(open_parts(frames), settings.batch, settings.seed)
    for step in range(60):
        trainer.step(order.batch_of(step) * scale)
    ours = as_sae(trainer.sae, settings, scale)
    assert ours.threshold > 0
    trainer.sae.save_inference_model(str(tmp_path))
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path))
    read = load_sae(tmp_path)
    x = frames.held_out[:500].float()
    with torch.no_grad():
        f = theirs.encode(x * scale)
        back = theirs.decode(f) / scale
    assert 0 < float((f > 0).sum(-1).float().mean()) < 24  # of 48: its threshold is still on its way up
    for encoded in (ours.encode(x), read.encode(x * scale)):
        at_the_threshold = (encoded > 0) != (f > 0)
        assert float(at_the_threshold.float().mean()) < 1e-5
        torch.testing.assert_close(encoded[~at_the_threshold], f[~at_the_threshold], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(x), back, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(read(x * scale) / scale, back, rtol=1e-3, atol=1e-3)


def open_parts(frames: Activations) -> Any:
    from audiosae_steer.data.activations.shards import Shards

    return Shards.of(*frames).train


def test_conversion_keeps_the_selection_that_saelens_trains_with(sae_lens, frames):
    scale = scale_of(frames.train.float())
    trainer = make_trainer(frames.train.float(), SMALL, scale)
    order = ShuffledBatches(open_parts(frames), SMALL.batch, SMALL.seed)
    for step in range(30):
        trainer.step(order.batch_of(step) * scale)
    ours = as_sae(trainer.sae, SMALL, scale)
    ours.threshold = None  # then it selects as the trainer does, k per frame over the whole batch
    x = frames.held_out[:256].float()
    with torch.no_grad():
        theirs = trainer.sae(x * scale) / scale
    torch.testing.assert_close(ours(x), theirs, rtol=1e-4, atol=1e-4)


def test_the_scale_brings_the_mean_norm_to_the_root_of_the_width(frames):
    x = frames.train.float()
    assert float((x * scale_of(x)).norm(dim=-1).mean()) == pytest.approx(4.0, rel=1e-3)
    with pytest.raises(SteeringError, match="all zero"):
        scale_of(torch.zeros(10, 4))


def test_training_starts_from_an_sae(trained, folder, sae_lens):
    """From the first step on it is as good as that; and one of other sizes, or of another gate, is refused."""
    shards = open_shards(folder, 2)
    on = train_sae(shards, replace(SMALL, steps=3, lr=1e-5), start=trained, progress=False)
    torch.testing.assert_close(on.W_dec, trained.W_dec, rtol=0, atol=1e-3)
    assert on.info["held_out"]["fvu"] == pytest.approx(trained.info["held_out"]["fvu"], rel=0.05)
    assert on.normalisation == trained.normalisation
    with pytest.raises(SteeringError, match="has 48 features of width 16; expected 64"):
        train_sae(shards, replace(SMALL, n_features=64), start=trained, progress=False)
    from make import make_sae

    with pytest.raises(SteeringError, match="start anew"):
        train_sae(shards, replace(SMALL, n_features=31), start=make_sae("topk", d=16), progress=False)
    per_feature = trained.altered(threshold=trained.threshold.expand(48).clone())
    with pytest.raises(SteeringError, match="this one has one per feature: start anew"):
        train_sae(shards, SMALL, start=per_feature, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"seed": 2**32}, "seed is 4294967296; expected at most 4294967295"),
        ({"seed": 2**64}, "expected at most 4294967295"),
        ({"lr": float("nan")}, "learning rate above 0"),
        ({"k": 49}, "k = 49 is more than the 48 features"),
        ({"architecture": "gated"}, "'gated' is unknown; expected batchtopk or matryoshka"),
        ({"widths": (4, 8)}, "go with architecture"),
        ({"architecture": "matryoshka", "widths": (8, 4)}, "widths 8, 4, 48: expected ascending"),
        ({"architecture": "matryoshka", "widths": (64,)}, "expected ascending numbers from 1 to the 48"),
    ],
)
def test_settings_out_of_their_range_are_named(change, message, frames):
    with pytest.raises(SteeringError, match=message):
        train_sae(frames, replace(SMALL, **change), progress=False)


def test_without_saelens_or_matplotlib_the_error_names_the_command(frames, monkeypatch, tiny_en, tmp_path):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sae_lens", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'audiosae-steer\[train\]'"):
            train_sae(frames, SMALL, progress=False)
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"matplotlib; run: pip install 'audiosae-steer\[train\]'"):
        train(tiny_en, 2, [tmp_path], tmp_path / "a.safetensors", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_is_written(tiny_en, tmp_path):
    with pytest.raises(SiteError, match="no encoder layer 9: this model's encoder has layers 1 to 4"):
        train(tiny_en, 9, [tmp_path], tmp_path / "a.safetensors", progress=False)
    with pytest.raises(UnknownModelError, match="not a model whose layers are known"):
        train(torch.nn.Linear(3, 3), 1, [tmp_path], tmp_path / "a.safetensors", progress=False)
    with pytest.raises(SteeringError, match=r"expected the SAE's file, such as encoder-4.safetensors"):
        train(tiny_en, 2, [tmp_path], tmp_path / "folder", progress=False)
    from make import make_sae

    of = {F: make_sae("batchtopk-threshold", d=16, F=F) for F in (3072, 48)}
    for site, start, message in (
        (2, of[3072], "has 3072 features of width 16; expected 3072 of width 384"),
        (2, of[48], "has 48 features of width 16; expected 3072"),
        (2, make_sae("topk", d=384, F=3072), "this one is topk"),
        (Site(path="encoder.conv1"), of[48], "has 48 features of width 16; expected 3072"),
    ):
        with pytest.raises(SteeringError, match=message):
            train(tiny_en, site, [tmp_path], tmp_path / "a.safetensors", start=start, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for n in range(3):
        soundfile.write(folder / f"noise{n}.wav", 0.1 * rng.standard_normal(32_000).astype(np.float32), 16_000)
    return folder


def test_train_writes_a_file_with_its_provenance_a_curve_and_a_card(sae_lens, tiny_en, noise, tmp_path):
    settings = TrainSettings(n_features=512, k=8, steps=3, batch=64)
    out = tmp_path / "encoder-2.safetensors"
    info = {"model": "tiny.en", "command": "audiosae-steer train --layer 2"}
    options = TrainOptions(info=info, licence="mit")
    sae = train(tiny_en, 2, [noise], out, settings=settings, options=options, progress=False)
    read = load_sae(out)
    assert (read.n_features, read.d_model, read.gate.kind, read.gate.k) == (512, 384, "batchtopk", 8)
    assert read.W_dec.dtype == torch.float16
    assert read.info == json.loads(json.dumps(sae.info))
    assert (read.info["layer"], read.info["side"], read.info["family"]) == (2, "encoder", "whisper")
    assert read.info["settings"]["steps"] == 3
    assert "sae-lens" in read.info["trainer"]
    assert (tmp_path / "encoder-2.cache" / "layer-2" / "step-0000003").is_dir()
    assert (tmp_path / "encoder-2.png").read_bytes().startswith(b"\x89PNG")
    card = (tmp_path / "encoder-2.md").read_text(encoding="utf-8")
    for expected in (
        "base_model: openai/whisper-tiny.en",
        "license: mit",
        "# An SAE of encoder layer 2 of tiny.en",
        'audiosae_steer.load_whisper("tiny.en"), audiosae_steer.load_sae("encoder-2.safetensors")',
        "audiosae-steer train --layer 2",
        "![FVU, L0 and silent features over the steps of training](encoder-2.png)",
        f"- `{noise.name}`: its licence is that of its own page or folder",
    ):
        assert expected in card
    assert str(noise) not in card
    assert load_sae(tmp_path, layer=2).info == read.info  # what lies beside it is in nobody's way
    with pytest.raises(SteeringError, match="activations collected with other settings"):
        train(tiny_en, 2, [noise / "noise1.wav"], out, settings=settings, progress=False)
    with pytest.raises(SteeringError, match=r"other settings \(k\)"):
        train(tiny_en, 2, [noise], out, settings=replace(settings, k=9), progress=False)
    with pytest.raises(SteeringError, match="fewer than one batch of 100000; give more audio or a smaller batch"):
        train(tiny_en, 2, [noise], out, settings=replace(settings, batch=100_000), progress=False)


def test_the_layer_is_collected_whatever_others_are(sae_lens, tiny_en, noise, tmp_path, monkeypatch):
    settings = TrainSettings(n_features=64, k=4, steps=2, batch=64)

    def made(name: str, layer: int, others: list[int]) -> None:
        options = TrainOptions(cache=tmp_path / "cache", collect_layers=others)
        train(tiny_en, layer, [noise], tmp_path / name, settings=settings, options=options, progress=False)

    made("encoder-3.safetensors", 3, [2])
    monkeypatch.setattr("audiosae_steer.data.activations.extraction.residuals", None)  # all is collected
    made("encoder-2.safetensors", 2, [3])
    made("again.safetensors", 2, [2, 3])
    assert load_sae(tmp_path / "encoder-3.safetensors").info["layer"] == 3


def test_where_every_recording_is_held_out_they_are_trained_on(sae_lens, tiny_en, noise, tmp_path):
    names = (tmp_path / "sounds" / f"talk{n}a.wav" for n in range(1000))
    lone = next(path for path in names if int(hashlib.sha256(path.stem.encode()).hexdigest(), 16) % 20 == 0)
    lone.parent.mkdir()
    shutil.copy(noise / "noise0.wav", lone)
    assert [clip.held_out for clip in windows_of([lone])] == [True]
    settings = TrainSettings(n_features=64, k=4, steps=2, batch=64)
    out = tmp_path / "a.safetensors"
    sae = train(tiny_en, 2, [lone], out, settings=settings, progress=False)
    assert sae.info["frames"]["train"] > 64
    assert sae.info["frames"]["held_out"] == 0
    assert "held_out" not in sae.info
    assert "none was held out" in out.with_suffix(".md").read_text(encoding="utf-8")
    again = train(tiny_en, 2, [lone], tmp_path / "b.safetensors", settings=settings, progress=False)
    assert same(sae, again)


def test_the_two_lines_of_the_card_run(sae_lens, tiny_en, noise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(
        tiny_en, 2, [noise], "e.safetensors", settings=TrainSettings(n_features=64, k=4, steps=2, batch=64),
        options=TrainOptions(info={"model": "tiny.en"}), progress=False,
    )  # fmt: skip
    card = Path("e.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["model"].encoder.blocks[1]._forward_hooks
    assert names["sae"].n_features == 64


def test_models_of_other_families_are_trained_on_by_layer_or_path(sae_lens, noise, tmp_path):
    from families import FAMILIES

    made = {case.name: case for case in FAMILIES}
    settings = TrainSettings(n_features=40, k=4, steps=3, batch=16)
    for name, site in (("HuBERT", Site(1)), ("AST", Site(1)), ("EnCodec 24 kHz", Site(1))):
        model = made[name].make()
        sae = train(model, site, [noise], tmp_path / f"{name}.safetensors", settings=settings, progress=False)
        with pytest.warns(NeverCalledWarning), steer(model, sae=sae.float(), layer=1, edits=[Ablate([3])]):
            pass
        assert sae.d_model == made[name].width(model, site)
    model = made["HuBERT"].make()
    sae = train(
        model, Site(path="encoder.layers.0"), [noise], tmp_path / "path.safetensors", settings=settings, progress=False
    )
    assert sae.info["path"] == "encoder.layers.0"
    assert 'site=audiosae_steer.Site(path="encoder.layers.0")' in (tmp_path / "path.md").read_text(encoding="utf-8")
