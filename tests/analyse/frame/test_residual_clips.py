"""Residuals of a real Whisper, clip by clip, against its own layer; and the cache."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from families import FAMILIES

from audiosae_steer import Push, Site, SiteEdits, steer
from audiosae_steer.analyse import Excerpts, excerpts_of, read_residuals
from audiosae_steer.data.activations.by_clip import clip_residuals
from audiosae_steer.data.activations.capture import capture_residuals, residuals
from audiosae_steer.errors import SiteError, SteeringError
from audiosae_steer.models.registry import family_of, tap_at
from audiosae_steer.steering.recipes.load import checkpoints_dir

CLIPS = [checkpoints_dir() / "clips" / f"{name}.flac" for name in ("rain", "speech-01", "siren")]


def test_frames_of_a_whisper_are_those_of_its_layer_without_padding(tiny_en, tmp_path):
    clips = excerpts_of(CLIPS)
    found = read_residuals(tiny_en, Site(4), clips, cache=tmp_path)
    assert (found.model, found.rate, found.width, len(found)) == ("whisper", 50.0, 384, 3)
    for number, item in enumerate(clips.items):
        samples = item.read()
        whole = residuals(tiny_en, [samples], [4])[4][0]
        frames = int(np.ceil(len(samples) / 320))
        assert found.frames[number] == frames < 1500
        assert torch.allclose(found.read(number), whole[:frames], atol=1e-4)
    # the toy takes the window as it is: most of its frames are padding
    assert found.frames.sum() < 0.5 * 3 * 1500


def test_what_is_cached_is_not_encoded_again(tiny_en, tmp_path):
    clips = excerpts_of(CLIPS)
    first = read_residuals(tiny_en, Site(2), clips, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    stamp = file.stat().st_mtime_ns
    again = read_residuals(tiny_en, Site(2), clips, cache=tmp_path)
    assert file.stat().st_mtime_ns == stamp
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.digest == again.digest == clips.digest()
    other = read_residuals(tiny_en, Site(2), excerpts_of(CLIPS[:2]), cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert other.digest != first.digest
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(SteeringError, match="is damaged"):
        read_residuals(tiny_en, Site(2), clips, cache=tmp_path)


def test_other_labels_and_groups_are_not_encoded_again(tiny_en, tmp_path):
    plain = excerpts_of(CLIPS[:1])
    first = read_residuals(tiny_en, Site(2), plain, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    named = Excerpts(tuple(item._replace(label="rain", group="a field") for item in plain.items), grouped=True)
    found = read_residuals(tiny_en, Site(2), named, cache=tmp_path)
    assert list(tmp_path.glob("*.safetensors")) == [file]
    assert torch.equal(found.read(0), first.read(0))
    assert (found.labels, found.groups) == (("rain",), ("a field",))
    assert found.digest == named.digest() != first.digest  # what a result says of its data
    moved = Excerpts(tuple(item._replace(start=1.0, seconds=item.seconds - 1) for item in plain.items))
    read_residuals(tiny_en, Site(2), moved, cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_one_pass_fills_the_cache_of_other_sites(tiny_en, tmp_path, monkeypatch):
    clips = excerpts_of(CLIPS[:2])
    alone = {layer: read_residuals(tiny_en, Site(layer), clips, cache=tmp_path / f"{layer}") for layer in (2, 4)}
    path = Site(path="encoder.blocks.1", frame_rate=50)  # layer 2 by its path, which knows of no padding
    read_residuals(tiny_en, Site(2), clips, cache=tmp_path / "all", also=(Site(4), Site(2), path))
    written = sorted((tmp_path / "all").iterdir())
    assert len(written) == 3
    passes = []
    monkeypatch.setattr(tiny_en.encoder, "forward", lambda *args: passes.append(1))
    for layer, found in alone.items():
        later = read_residuals(tiny_en, Site(layer), clips, cache=tmp_path / "all")
        assert all(torch.equal(a, b) for a, b in zip(found, later, strict=True))
    later = read_residuals(tiny_en, path, clips, cache=tmp_path / "all", also=(Site(3),))  # no pass is made for it
    assert torch.allclose(later.read(1)[: alone[2].frames[1]], alone[2].read(1), atol=1e-4)
    assert (passes, sorted((tmp_path / "all").iterdir())) == ([], written)
    monkeypatch.undo()
    temporary = read_residuals(tiny_en, Site(2), clips, also=(Site(4),))  # of no use without a cache
    assert len(list(temporary.clips[0].path.parent.iterdir())) == 1


def test_without_a_cache_nothing_stays(tiny_en):
    found = read_residuals(tiny_en, Site(1), excerpts_of(CLIPS[:1]))
    path = found.clips[0].path
    assert path.is_file()
    assert len(found.pick([0]).read(0)) == found.frames[0]
    del found
    import gc

    gc.collect()
    assert not path.exists()


def test_a_steered_model_is_read_as_steered_and_not_cached(tiny_en, tmp_path):
    clips = excerpts_of(CLIPS[:1])
    plain = read_residuals(tiny_en, Site(3), clips, cache=tmp_path)
    push = Push(vector=torch.ones(384), amount=5.0)
    with steer(tiny_en, [SiteEdits(Site(3), None, [push])]):
        steered = read_residuals(tiny_en, Site(3), clips, cache=tmp_path)
    assert torch.allclose(steered.read(0) - plain.read(0), torch.full((1, 384), 5.0), atol=1e-3)
    assert len(list(tmp_path.iterdir())) == 1
    again = read_residuals(tiny_en, Site(3), clips, cache=tmp_path)
    assert torch.equal(again.read(0), plain.read(0))


@pytest.mark.parametrize(
    "case", [each for each in FAMILIES if each.family not in ("diffrhythm", "whisper")], ids=lambda case: case.name
)
def test_every_family_that_reads_audio_gives_its_frames(case, tmp_path):
    rng = np.random.default_rng(0)
    for name, seconds in (("a", 1.5), ("b", 2.0)):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(int(seconds * 16000)), 16000)
    model = case.make()
    site = case.sites(model)[0]
    found = read_residuals(model, site, excerpts_of([tmp_path]))
    assert found.width == case.width(model, site)
    assert [len(frames) for frames in found] == found.frames.tolist()
    assert 1.2 < found.frames[1] / found.frames[0] < 1.45
    if found.rate:
        assert found.frames[1] == pytest.approx(2 * found.rate, rel=0.1)


def test_patches_of_an_ast_come_in_the_order_of_time():
    (case,) = (each for each in FAMILIES if each.family == "ast")
    model = case.make()
    site = case.sites(model)[0]
    samples = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    module, args, kwargs = family_of(model).prepare(model, samples)
    taken = capture_residuals(model, [site], module, *args, **kwargs)[site][0]
    times = tap_at(model, family_of(model), site).times(len(taken), torch.device("cpu"))
    (found,) = clip_residuals(model, site, [samples])
    where = [int((taken == frame).all(1).nonzero()[0]) for frame in found]
    of = times[where]
    assert (of.diff() >= 0).all()
    assert torch.isfinite(of).all()
    assert len(set(where)) == len(where) == int(((times < 1.5) & torch.isfinite(times)).sum())
    assert (taken[: len(found)] != found).any()  # the toy takes them as they come: band after band


def test_sites_that_there_are_not(tiny_en):
    with pytest.raises(SiteError):
        read_residuals(tiny_en, Site(9), excerpts_of(CLIPS[:1]))
