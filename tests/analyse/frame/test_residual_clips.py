"""Residuals of a real Whisper, clip by clip, against its own layer; and the cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiosae_steer import Site
from audiosae_steer.analyse import excerpts_of, read_residuals
from audiosae_steer.data.activations.capture import residuals
from audiosae_steer.errors import SiteError, SteeringError
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


def test_without_a_cache_nothing_stays(tiny_en):
    found = read_residuals(tiny_en, Site(1), excerpts_of(CLIPS[:1]))
    path = found.clips[0].path
    assert path.is_file()
    assert len(found.pick([0]).read(0)) == found.frames[0]
    del found
    import gc

    gc.collect()
    assert not path.exists()


def test_sites_that_there_are_not(tiny_en):
    with pytest.raises(SiteError):
        read_residuals(tiny_en, Site(9), excerpts_of(CLIPS[:1]))
