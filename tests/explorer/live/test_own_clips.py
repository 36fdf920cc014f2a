from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from audiosae_steer.errors import AudioError, SteeringError
from audiosae_steer.explorer.live import own_clips
from audiosae_steer.explorer.live.own_clips import MAX_SECONDS, MadeSound, SoundStore, read_clip


def sound(seconds: float = 0.5, rate: int = 16000, channels: int = 1, format: str = "WAV") -> bytes:
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.2 * np.sin(2 * np.pi * 300 * time)
    out = io.BytesIO()
    soundfile.write(out, np.tile(wave[:, None], (1, channels)), rate, format=format)
    return out.getvalue()


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_formats_of_libsndfile_are_read(format: str) -> None:
    clip = read_clip(sound(format=format), f"a.{format.lower()}")
    assert clip.rate == 16000
    assert clip.seconds == pytest.approx(0.5, abs=0.1)
    assert clip.samples.dtype == np.float32
    assert clip.samples.ndim == 1


def test_channels_are_averaged_and_high_rates_come_down() -> None:
    clip = read_clip(sound(rate=96000, channels=2), "a.wav")
    assert (clip.rate, clip.samples.ndim) == (48000, 1)
    assert clip.seconds == pytest.approx(0.5, abs=0.01)


def test_what_is_beyond_the_longest_is_left_out_and_told() -> None:
    clip = read_clip(sound(MAX_SECONDS + 5, rate=8000), "long.wav")
    assert clip.seconds == pytest.approx(MAX_SECONDS)
    assert clip.whole == pytest.approx(MAX_SECONDS + 5)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not audio"),
        (b"RIFF" + b"\0" * 60, "not audio"),
        (b"<html>not sound</html>", "not audio"),
        (sound()[:20], "not audio"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 200, "not audio"),  # PyAV would open it
    ],
)
def test_what_is_no_audio_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        read_clip(data, "a.wav")


def test_an_upload_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_clips, "MAX_BYTES", 1000)
    with pytest.raises(AudioError, match="larger than"):
        read_clip(sound(), "a.wav")


def test_a_header_cannot_ask_for_much_memory() -> None:
    """A FLAC of a few bytes may tell of hours in 8 channels at 192 kHz."""
    data = bytearray(sound(rate=48000, channels=8, format="FLAC"))
    at = data.index(b"fLaC") + 8 + 10  # 20 bits of rate, 3 of channels, 5 of bits, 36 of samples
    (packed,) = struct.unpack(">Q", data[at : at + 8])
    packed = (192_000 << 44) | (packed & ~(0xFFFFF << 44) & ~((1 << 36) - 1)) | (1 << 35)
    data[at : at + 8] = struct.pack(">Q", packed)
    with pytest.raises(AudioError, match="too many samples"):
        read_clip(bytes(data), "bomb.flac")


@pytest.mark.parametrize(("sample", "said"), [(np.nan, "NaN"), (-np.inf, "infinite"), (1e30, "a sample of 1e.30")])
def test_what_no_sound_holds_is_said_of_the_clip(sample: float, said: str) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.array([0, 0.1, sample, 0.1]), 16000, format="WAV", subtype="FLOAT")
    with pytest.raises(AudioError, match=f"a.wav holds .*{said}"):
        read_clip(out.getvalue(), "a.wav")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\sounds\\dog.wav", "dog.wav"),
        ("", "own clip"),
        ("a\nb\x1b[31m.wav", None),
    ],
)
def test_a_name_is_for_people_alone(name: str, shown: str | None) -> None:
    found = read_clip(sound(), name).name
    assert "/" not in found
    assert "\x1b" not in found
    assert "\n" not in found
    assert shown is None or found == shown


def test_the_store_forgets_the_oldest_and_guesses_are_refused() -> None:
    store = SoundStore[MadeSound](most=2, size=100)
    first, second = store.add(MadeSound(b"a")), store.add(MadeSound(b"b"))
    store.get(first)
    third = store.add(MadeSound(b"c"))
    assert store.get(first).wav == b"a"
    assert store.get(third).wav == b"c"
    with pytest.raises(SteeringError, match="not kept any more"):
        store.get(second)
    large = store.add(MadeSound(b"d" * 1000))
    assert store.get(large).nbytes == 1000
    with pytest.raises(SteeringError):
        store.get(first)
