"""Audio that libsndfile does not read, through PyAV: m4a, mp4, webm, aac and what else FFmpeg decodes.

PyAV brings FFmpeg's libraries within its wheel; the program `ffmpeg` is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError

SUFFIXES = frozenset(
    {
        ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2",
        ".webm", ".mka", ".mkv",
        ".aac", ".ac3", ".amr", ".mp2", ".wma", ".wmv", ".asf", ".avi", ".flv", ".ts", ".wv", ".ape", ".tta",
    }
)  # fmt: skip
"""Endings of files that libsndfile does not read, and PyAV does; of videos their first sound is taken."""
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,loas,latm,ac3,eac3,amr,amrnb,amrwb,asf,avi,flv,mpeg,mpegts,mp3,wv,ape,"
    "tta,dsf,wav,w64,aiff,au,caf,flac,ogg"
)
"""Formats that FFmpeg may take a file for; playlists and such, which name other files to read, are not among them."""
COMMAND = "pip install 'audiosae-steer[av]'"


def blocks(file: Path | BinaryIO, name: str, reason: str) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Samples (n, channels) piece by piece, at the file's own rate, and that rate in Hz.

    Args:
        file: a path, or an open binary file.
        name: its name in errors.
        reason: why libsndfile does not read it, for errors.

    Raises:
        AudioError: PyAV is not installed, or does not read it either.
    """
    av = _library(name, reason)
    with _opened(av, file, name) as container:
        stream = container.streams.best("audio")
        if stream is None:
            kinds = ", ".join(sorted({each.type for each in container.streams})) or "nothing"
            raise AudioError(f"{name} has no sound: it holds {kinds}")
        yield from _frames(av, container, stream)


def _library(name: str, reason: str) -> ModuleType:
    try:
        import av
    except ImportError as error:
        if Path(name).suffix.lower() in SUFFIXES:
            raise AudioError(
                f"{name} is read through PyAV, which is not installed ({error}); run: {COMMAND}"
            ) from error
        raise AudioError(
            f"{name} is not audio that libsndfile reads ({reason}); wav, flac, ogg, opus, mp3 and aiff are. Others "
            f"(m4a, aac, webm, video) are read through PyAV: {COMMAND}"
        ) from error
    found: ModuleType = av
    return found


@contextmanager
def _opened(av: ModuleType, file: Path | BinaryIO, name: str) -> Iterator[Any]:
    """The container; FFmpeg is given an open file, and so has no name by which to reach another."""
    source: BinaryIO = file.open("rb") if isinstance(file, Path) else file
    try:
        source.seek(0)
        with av.open(source, options={"format_whitelist": CONTAINERS}, metadata_errors="ignore") as container:
            yield container
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(
            f"{name} is not audio that libsndfile or PyAV reads ({reason}); it is damaged, cut short or no audio"
        ) from error
    finally:
        if isinstance(file, Path):
            source.close()


def _frames(av: ModuleType, container: Any, stream: Any) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Samples (n, channels) piece by piece, and their rate; frames that are damaged are left out, as ffmpeg does."""
    resampler = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if resampler is None:  # one layout and rate for all of them, which may change within a file
                resampler = av.AudioResampler(format="fltp", layout=frame.layout.name, rate=frame.sample_rate)
            for piece in resampler.resample(frame):
                yield piece.to_ndarray().T, piece.sample_rate
    if resampler is not None:
        for piece in resampler.resample(None):
            yield piece.to_ndarray().T, piece.sample_rate
