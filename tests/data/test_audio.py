"""Audio files of every kind, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosae_steer import AudioError, AudioSAESteerWarning, load_audio
from audiosae_steer.data.audio import audio_files, decode
from audiosae_steer.data.sound_files import TooLongError

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


def test_peaks_far_above_full_scale_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 1200 * SECOND, 44_100, subtype="FLOAT")
    with pytest.warns(AudioSAESteerWarning, match=r"a.wav peaks at 600, where full scale is 1"):
        assert load_audio(tmp_path / "a.wav").max() > 500
    soundfile.write(tmp_path / "a.wav", 4 * SECOND, 44_100, subtype="FLOAT")
    load_audio(tmp_path / "a.wav")


def test_channels_that_cancel_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([SECOND, -0.95 * SECOND], 1), 44_100)
    with pytest.warns(AudioSAESteerWarning, match=r"the 2 channels of .*a.wav cancel each other"):
        load_audio(tmp_path / "a.wav")
    for other in (0 * SECOND, SECOND, np.roll(SECOND, 25)):  # one that is silent, a copy, another phase
        soundfile.write(tmp_path / "a.wav", np.stack([SECOND, other], 1), 44_100)
        load_audio(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 44_100)
    load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.flac", "a.wav", "a.mp3", "piped.flac", "a.m4a"])
def test_no_more_is_decoded_than_the_budget_allows(tmp_path: Path, name: str) -> None:
    """Of all channels together; a FLAC that was written to a pipe does not know its length."""
    path = tmp_path / name
    if name == "a.m4a":
        pytest.importorskip("av")
        from av_files import write_av

        write_av(path, SECOND, 44_100, channels=2)
    else:
        soundfile.write(path, np.stack([SECOND] * 2, 1), 44_100)
    if name == "piped.flac":
        data = bytearray(path.read_bytes())
        data[21] &= 0xF0  # total samples, of 36 bits
        data[22:26] = bytes(4)
        path.write_bytes(data)
    whole = load_audio(path)
    with path.open("rb") as file:
        np.testing.assert_array_equal(decode(file, name, budget=200_000), whole)
        with pytest.raises(TooLongError, match=r"holds more sound than is read here.*cut it, or export it as mono"):
            decode(file, name, budget=20_000)
        assert len(decode(file, name, seconds=0.1, budget=20_000)) == pytest.approx(1600, abs=2)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a"])
def test_files_of_no_bytes_are_called_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(AudioError, match=f"{name} is empty: it holds no samples"):
        load_audio(tmp_path / name)


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
