"""m4a, mp4, webm and their like, written and read by PyAV."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from av_files import CODECS, write_av

from audiosae_steer import AudioError, load_audio
from audiosae_steer.data.audio import audio_files, decode
from audiosae_steer.data.sound_files import length
from audiosae_steer.data.windows import windows_of

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)
"""Two seconds at 16 kHz."""


def pitch(samples: np.ndarray) -> int:
    return int(np.argmax(np.abs(np.fft.rfft(samples[4000:20_000], 16_000))))


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.parametrize("ending", CODECS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_is_read(tmp_path: Path, ending: str, channels: int) -> None:
    if ending == "amr" and channels == 2:
        pytest.skip("AMR is mono")
    samples = load_audio(write_av(tmp_path / f"a.{ending}", TONE, channels=channels))
    assert samples.dtype == np.float32
    assert 0 <= len(samples) - len(TONE) < 3_000  # codecs pad
    assert abs(pitch(samples) - 440) <= 2
    assert 0.4 < np.abs(samples[4000:28_000]).max() < 0.6


def test_lossless_sound_is_read_exactly(tmp_path: Path) -> None:
    samples = load_audio(write_av(tmp_path / "a.mov", TONE))
    np.testing.assert_allclose(samples, TONE, atol=2**-15)


def test_a_video_gives_its_sound_and_one_without_says_so(tmp_path: Path) -> None:
    assert abs(pitch(load_audio(write_av(tmp_path / "a.mp4", TONE, video=True))) - 440) <= 2
    with pytest.raises(AudioError, match=r"silent.mp4 has no sound: it holds video"):
        load_audio(write_av(tmp_path / "silent.mp4", None, video=True))


def test_a_stretch_in_memory(tmp_path: Path) -> None:
    path = write_av(tmp_path / "a.mov", TONE)
    part = decode(io.BytesIO(path.read_bytes()), "a", start=0.5, seconds=0.75)
    np.testing.assert_array_equal(part, load_audio(path)[8_000:20_000])
    assert length(path, "a.mov") == (2.0, 16_000, 1)
    assert [window.start for window in windows_of([path])] == [0]


def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_av(tmp_path / "a.aac", TONE).read_bytes()
    (tmp_path / "a.aac").write_bytes(whole[: len(whole) // 2])
    samples = load_audio(tmp_path / "a.aac")
    assert 12_000 < len(samples) < 24_000
    assert abs(pitch(np.pad(samples, (0, 16_000))) - 440) <= 2


def test_without_pyav_the_extra_is_named(tmp_path: Path, no_pyav: None) -> None:
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (tmp_path / "a.bin").write_bytes(b"\0\0\0\x20ftypM4A ")
    for name in ("a.m4a", "a.bin"):
        with pytest.raises(AudioError, match=r"pip install 'audiosae-steer\[av\]'"):
            load_audio(tmp_path / name)
    soundfile.write(tmp_path / "a.wav", TONE, 16_000)
    assert len(load_audio(tmp_path / "a.wav")) == len(TONE)


def test_what_is_no_audio_is_refused_by_both(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"a.m4a is not audio that libsndfile or PyAV reads"):
        load_audio(tmp_path / "a.m4a")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{other.name}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    ],
    ids=["playlist", "concat", "sdp"],
)
def test_a_file_reads_no_other_file(tmp_path: Path, text: str) -> None:
    other = write_av(tmp_path / "other.aac", TONE)
    path = tmp_path / "list.m4a"
    path.write_text(text.format(other=other))
    with pytest.raises(AudioError, match="is not audio"):
        load_audio(path)


def test_folders_list_them(tmp_path: Path) -> None:
    for name in ("a.m4a", "b.MP4", "c.webm", "d.aac", "e.txt", "._a.m4a", ".hidden.wav"):
        (tmp_path / name).touch()
    assert [path.name for path in audio_files(tmp_path)] == ["a.m4a", "b.MP4", "c.webm", "d.aac"]
