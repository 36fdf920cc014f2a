"""Pooled features, on a small random Whisper and a small random SAE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from make import count_hooks, make_openai, make_sae

from audiosae_steer.data.activations.capture import frames_of, residuals
from audiosae_steer.data.audio_paths import list_audio
from audiosae_steer.data.windows import Window, read_window, windows_of
from audiosae_steer.discover.contrast import pooling as module
from audiosae_steer.discover.contrast.pooling import pool_clips
from audiosae_steer.discover.contrast.settings import PoolSettings
from audiosae_steer.errors import AudioError, SiteError, SteeringError
from audiosae_steer.steering.gates import pool

LENGTHS = (0.5, 1.0, 1.5)


@pytest.fixture(scope="module")
def model():
    return make_openai(d=32, layers=2)


@pytest.fixture(scope="module")
def sae():
    return make_sae(d=32, F=20)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Window]:
    folder = tmp_path_factory.mktemp("clips")
    for n, seconds in enumerate(LENGTHS):
        samples = 0.1 * np.random.default_rng(n).standard_normal(int(seconds * 16_000))
        soundfile.write(folder / f"{n}.wav", samples.astype(np.float32), 16_000, subtype="FLOAT")
    return windows_of(list_audio([folder]))


@pytest.mark.parametrize("kind", ["max", "mean", "nonzero_mean"])
@pytest.mark.parametrize("frames", ["audio", "window"])
def test_it_pools_what_the_sae_finds_in_the_clip(model, sae, clips, kind, frames):
    found = pool_clips(model, sae, 2, clips, PoolSettings(pool=kind, pad="silence", frames=frames))
    assert found.features.shape == found.peaks.shape == (3, 20)
    assert found.texts == ()
    assert found.no_speech.shape == (0,)
    for row, (clip, seconds) in enumerate(zip(clips, LENGTHS, strict=True)):
        f = sae.encode(residuals(model, [read_window(clip)], [2], "silence")[2])
        kept = f[:, : int(seconds * 50)] if frames == "audio" else f
        np.testing.assert_allclose(found.features[row], pool(kept, kind)[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(found.peaks[row], kept.amax(1)[0].numpy(), atol=1e-5)
    assert count_hooks(model) == 0


def test_the_two_ways_to_pad_differ(model, sae, clips):
    zeros, silence = (
        pool_clips(model, sae, 1, clips[:1], PoolSettings(pool="mean", pad=pad)) for pad in ("zeros", "silence")
    )
    assert not np.allclose(zeros.features, silence.features)


def test_frames_of_a_clip():
    assert [frames_of(n, 1500) for n in (1, 320, 321, 16_000, 480_000, 999_999)] == [1, 1, 2, 50, 1500, 1500]


def test_an_interrupted_call_resumes(model, sae, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1)
    whole = pool_clips(model, sae, 1, clips)
    read: list[str] = []

    def cut(clip: Window, stop: int) -> np.ndarray:
        if len(read) == stop:
            raise KeyboardInterrupt
        read.append(clip.path.name)
        return read_window(clip)

    monkeypatch.setattr(module, "read_window", lambda clip: cut(clip, 2))
    with pytest.raises(KeyboardInterrupt):
        pool_clips(model, sae, 1, clips, cache=tmp_path)
    assert not list(tmp_path.glob("*.part"))
    monkeypatch.setattr(module, "read_window", lambda clip: cut(clip, 3))
    told: list[tuple[str, int, int]] = []
    resumed = pool_clips(model, sae, 1, clips, cache=tmp_path, progress=lambda *done: told.append(done))
    assert read == ["0.wav", "1.wav", "2.wav"]
    np.testing.assert_array_equal(whole.features, resumed.features)
    assert told[-1] == ("pooling features, zeros", 3, 3)
    pool_clips(model, sae, 1, clips, PoolSettings(pool="mean"), cache=tmp_path)  # another pool needs no second pass
    assert len(read) == 3


@pytest.mark.parametrize("change", ["layer", "pad", "frames", "sae", "file"])
def test_what_is_kept_is_not_taken_for_something_else(model, sae, clips, tmp_path, change):
    copy = tmp_path / "a.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    clip = Window(copy, 0, False)
    before = pool_clips(model, sae, 1, [clip], cache=tmp_path / "cache")
    if change == "file":
        copy.write_bytes(clips[1].path.read_bytes())
    other = make_sae(d=32, F=20, seed=1) if change == "sae" else sae
    after = pool_clips(
        model,
        other,
        2 if change == "layer" else 1,
        [clip],
        PoolSettings(pad="silence" if change == "pad" else "zeros", frames="window" if change == "frames" else "audio"),
        cache=tmp_path / "cache",
    )
    assert not np.allclose(before.features, after.features)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_the_model_writes_is_what_it_writes_when_asked_directly(model, sae, clips, tmp_path):
    from audiosae_steer.evaluate.transcription.from_residuals import encode, write

    direct = write(
        model, encode(model, [read_window(clip) for clip in clips], 2, progress=False), 2, timestamps=True, limit=3
    )
    for _ in range(2):  # made, and read again
        found = pool_clips(model, sae, 2, clips, PoolSettings(write=3), cache=tmp_path)
        assert found.texts == tuple(one.text for one in direct)
        np.testing.assert_allclose(found.no_speech, [one.no_speech_prob for one in direct], rtol=1e-2)


def test_what_does_not_fit_says_why(model, sae, clips):
    with pytest.raises(SiteError, match="no encoder layer 3: this model's encoder has layers 1 to 2"):
        pool_clips(model, sae, 3, clips)
    with pytest.raises(SiteError, match="width 12, but the model's are 32 wide"):
        pool_clips(model, make_sae(d=12), 1, clips)
    other = make_sae(d=32)
    other.info["layer"] = 1
    with pytest.raises(SiteError, match="trained on layer 1, not 2"):
        pool_clips(model, other, 2, clips)
    with pytest.raises(AudioError, match="no clips"):
        pool_clips(model, sae, 1, [])
    with pytest.raises(SteeringError, match="pool 'median' is unknown; expected one of max, mean, nonzero_mean"):
        PoolSettings(pool="median")
    with pytest.raises(SteeringError, match="pad 'noise' is unknown"):
        PoolSettings(pad="noise")
    with pytest.raises(AudioError, match="gone.wav"):
        pool_clips(model, sae, 1, [Window(Path("gone.wav"), 0, False)])


def test_numbers_that_are_none_are_refused(sae, clips):
    broken = make_openai(d=32, layers=2)
    with torch.no_grad():
        broken.encoder.blocks[0].mlp[2].bias[0] = torch.nan
    with pytest.raises(SteeringError, match="NaN or infinite numbers for 0.wav and the 0 clips after it; check"):
        pool_clips(broken, sae, 1, clips[:1])
