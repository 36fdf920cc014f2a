"""Audio files of every kind, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosae_steer import AudioError, load_audio
from audiosae_steer.data.audio import audio_files

SECOND = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype(np.float32) * 0.5


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_U8"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_24"),
        ("a.ogg", "VORBIS"),
        ("a.mp3", "MPEG_LAYER_III"),
        ("a.aiff", "PCM_16"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_formats_rates_and_channels(tmp_path: Path, name: str, subtype: str, channels: int, rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate) * 0.5
    soundfile.write(tmp_path / name, np.stack([tone] * channels, 1), rate, subtype=subtype)
    samples = load_audio(tmp_path / name)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16_000) < 2_000  # mp3 pads
    pitch = np.argmax(np.abs(np.fft.rfft(samples, 16_000)))
    assert abs(int(pitch) - 440) <= 2
    assert 0.4 < np.abs(samples[2000:14000]).max() < 0.6


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([np.full(100, 0.5), np.full(100, -0.25)], 1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), 0.125)


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16_000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("hello")
    cases = {"empty.wav": "empty", "nan.wav": "NaN", "text.wav": "libsndfile", "none.wav": "no audio file"}
    for name, says in cases.items():
        with pytest.raises(AudioError, match=says):
            load_audio(tmp_path / name)
    with pytest.raises(AudioError, match="no audio file"):
        load_audio(tmp_path)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no folder"):
        audio_files(tmp_path / "none")
    with pytest.raises(AudioError, match="holds no audio"):
        audio_files(tmp_path)
    (tmp_path / "b").mkdir()
    for name in ("z.wav", "b/a.FLAC", "b/notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in audio_files(tmp_path)] == ["a.FLAC", "z.wav"]
