"""WAV files with wrong lengths in their headers, and their siblings in other formats."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiosae_steer import AudioError, AudioSAESteerWarning, load_audio
from audiosae_steer.data.audio import decode
from audiosae_steer.data.sound_files import length
from audiosae_steer.data.sources import open_source

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 160_000)
FULL = 0xFFFFFFFF


def written(kind: str = "WAV", subtype: str = "PCM_16") -> bytearray:
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, 16_000, format=kind, subtype=subtype)
    return bytearray(buffer.getvalue())


def told(content: bytearray, riff: int, data: int) -> bytearray:
    """The same WAV with other sizes in its header."""
    struct.pack_into("<I", content, 4, riff)
    struct.pack_into("<I", content, content.index(b"data") + 4, data)
    return content


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"])
@pytest.mark.parametrize("data", [0, 1, FULL, 0x7FFFF000, 10**6])
@pytest.mark.parametrize("riff", [0, 8, 36, FULL])
@pytest.mark.filterwarnings("ignore:.*is cut short:audiosae_steer.AudioSAESteerWarning")
def test_samples_go_as_far_as_the_file(tmp_path: Path, subtype: str, data: int, riff: int) -> None:
    if subtype in ("PCM_U8", "ULAW", "ALAW") and data == 1:
        data = 0  # one whole sample of one byte
    path = tmp_path / "a.wav"
    path.write_bytes(written(subtype=subtype))
    right = load_audio(path)
    path.write_bytes(told(written(subtype=subtype), riff, data))
    np.testing.assert_array_equal(load_audio(path)[: len(right)], right)
    assert abs(length(path, "a").seconds - 1) < 0.1


def test_a_wav_that_is_cut_short_is_read_to_its_end(tmp_path: Path) -> None:
    whole = written()
    (tmp_path / "a.wav").write_bytes(whole[:-1])  # of which nothing need be said
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), TONE[:-1], atol=2**-14)
    (tmp_path / "a.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(AudioSAESteerWarning, match=r"a.wav is cut short: it ends after 0.5 s, and .* tells of 1.0 s"):
        samples = load_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(samples, TONE[: len(samples)], atol=2**-14)
    assert len(samples) == (len(whole) // 2 - 44) // 2


@pytest.mark.parametrize("kind", ["WAVEX", "RF64", "AIFF", "AU"])
def test_siblings_of_wav_that_are_cut_short_are_said_to_be(tmp_path: Path, kind: str) -> None:
    whole = written(kind)
    with pytest.warns(AudioSAESteerWarning, match=r"is cut short: it ends after 0.5 s, and its header tells of 1.0 s"):
        decode(io.BytesIO(whole[: len(whole) // 2]), "a")
    decode(io.BytesIO(whole), "a")
    decode(io.BytesIO(whole[: len(whole) // 2]), "a", seconds=0.25)  # a stretch that is there


@pytest.mark.parametrize("size", [0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36])
def test_sizes_that_stand_for_a_pipe_are_no_promise(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.wav").write_bytes(told(written(), FULL, size))
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), TONE, atol=2**-14)


def test_an_empty_wav_stays_empty_whatever_follows(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for tail in (b"", b"LIST" + struct.pack("<I", 4) + b"INFO"):
        path.write_bytes(told(written()[:44], 36, 0) + tail)
        with pytest.raises(AudioError, match="holds no samples"):
            load_audio(path)


def test_chunks_before_the_samples_are_kept(tmp_path: Path) -> None:
    content = told(written(), FULL, 0)
    at = content.index(b"data")
    content[at:at] = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), TONE, atol=2**-14)


@pytest.mark.parametrize("sizes", [bytes(24), b"\xff" * 24], ids=["zero", "full"])
def test_rf64_without_its_sizes(tmp_path: Path, sizes: bytes) -> None:
    content = written("RF64")
    at = content.index(b"ds64") + 8
    content[at : at + 24] = sizes
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), TONE, atol=2**-14)


def streamed_flac() -> bytearray:
    """FLAC as `flac -` writes it to a pipe: its header tells of 0 samples."""
    content = written("FLAC")
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return content


def test_flac_that_was_written_to_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(streamed_flac())
    np.testing.assert_allclose(load_audio(tmp_path / "a.flac"), TONE, atol=2**-14)
    assert length(tmp_path / "a.flac", "a") == (1.0, 16_000, 1)
    part = decode(io.BytesIO(streamed_flac()), "a", start=0.25, seconds=0.5)
    np.testing.assert_allclose(part, TONE[4_000:12_000], atol=2**-14)
    clips = open_source(str(tmp_path), progress=False)
    assert len(clips.clips) == 1
    np.testing.assert_array_equal(clips.load(0), load_audio(tmp_path / "a.flac"))


def test_flac_that_is_cut_short_is_read_and_said_to_be(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, NOISE, 16_000, format="FLAC")
    (tmp_path / "a.flac").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.warns(AudioSAESteerWarning, match=r"a.flac is damaged or cut short after \d\.\d s"):
        samples = load_audio(tmp_path / "a.flac")
    assert 60_000 < len(samples) <= 80_000
    np.testing.assert_allclose(samples, NOISE[: len(samples)], atol=2**-14)
    with pytest.raises(AudioError, match=r"a.flac is damaged or cut short"):
        length(tmp_path / "a.flac", "a.flac", whole=True)


def test_au_that_was_written_to_a_pipe(tmp_path: Path) -> None:
    content = written("AU")
    struct.pack_into(">I", content, 8, FULL)
    (tmp_path / "a.au").write_bytes(content)
    np.testing.assert_allclose(load_audio(tmp_path / "a.au"), TONE, atol=2**-14)


def test_caf_that_was_written_to_a_pipe(tmp_path: Path) -> None:
    content = written("CAF")
    at = content.index(b"data") + 4
    content[at : at + 8] = b"\xff" * 8
    (tmp_path / "a.caf").write_bytes(content)
    np.testing.assert_allclose(load_audio(tmp_path / "a.caf"), TONE, atol=2**-14)
