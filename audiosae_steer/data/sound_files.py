"""Sound files as samples at their own rate: by libsndfile, and by PyAV if that does not read them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import AudioError, AudioSAESteerWarning
from . import pyav
from .wav_header import mended, shortened

BLOCK = 1 << 14
"""Frames that are read at once where a file has to be read piece by piece."""
UNKNOWN = 1 << 40
"""A header that tells of so many frames does not know how many there are (FLAC that was written to a pipe)."""
NOTED = 0.05
"""Seconds that a file may lack at its end without a word: less is no loss, and some programs count a little wrongly."""
NOT_READ = (RuntimeError, TypeError, ValueError)
"""Errors of soundfile for what it does not read; its own error is a RuntimeError."""


class TooLongError(AudioError):
    """A sound file holds more than its reader allows."""


class Length(NamedTuple):
    """The extent of a sound file."""

    seconds: float
    rate: int
    """Hz."""
    channels: int
    """At least 1."""


def read(
    file: Path | BinaryIO,
    name: str,
    start: float = 0.0,
    seconds: float | None = None,
    budget: int = UNKNOWN,
    *,
    others: bool = True,
) -> tuple[NDArray[np.float32], int]:
    """Samples (n, channels) of a stretch, and their rate in Hz; n is 0 if there are none.

    A FLAC that is damaged from some place on, and a WAV, AIFF or AU that is cut short, is read up to there, with an
    `AudioSAESteerWarning`.

    Args:
        file: a path, or an open binary file.
        name: its name in errors.
        start: seconds to skip at its beginning.
        seconds: most seconds to read after that; all by default.
        budget: samples that may be decoded, of all channels together: a small file may hold very many.
        others: let PyAV try what libsndfile does not read; of what strangers send, its many formats are no help.

    Raises:
        AudioError: it is not audio.
        TooLongError: it holds more than the budget allows.
    """
    try:
        with _opened(file) as sound:
            rate, frames, room = int(sound.samplerate), int(sound.frames), budget // sound.channels
            skip, most = round(start * rate), -1 if seconds is None else round(seconds * rate)
            if frames < UNKNOWN:
                _check(min(frames, skip + most) if most >= 0 else frames, room, name)
                with suppress(*NOT_READ if sound.format == "FLAC" else ()):
                    if skip:
                        sound.seek(min(skip, frames))
                    # in one go: libsndfile seeks between reads, which leaves a click in an mp3
                    samples = sound.read(most, dtype="float32", always_2d=True)
                    if most < 0 or len(samples) < most:
                        _tell_if_cut_short(sound, file, name)
                    return samples, rate
        with _opened(file) as sound:
            found = _piecewise(sound, name, skip, most if 0 <= most <= room - skip else max(room + 1 - skip, 0))
            _check(skip + len(found), room, name)
            return found, rate
    except NOT_READ as error:
        reason = str(error)
    if _is_empty(file):
        return np.zeros((0, 1), np.float32), 1
    if not others:
        raise AudioError(f"{name} is not audio that libsndfile reads: {reason}")
    return _by_pyav(pyav.blocks(file, name, reason), name, start, seconds, budget)


def length(file: Path | BinaryIO, name: str, *, whole: bool = False) -> Length:
    """Duration by the header where it knows, and else by decoding; rate and channels.

    Args:
        file: a path, or an open binary file.
        name: its name in errors.
        whole: refuse a file that lacks its end, where that can be told.

    Raises:
        AudioError: it is not audio, or cut short.
    """
    try:
        with _opened(file) as sound:
            rate, channels = int(sound.samplerate), int(sound.channels)
            if sound.frames >= UNKNOWN:
                return Length(len(_piecewise(sound, name, 0, -1)) / rate, rate, channels)
            if whole and sound.frames and sound.format in ("FLAC", "WAV"):
                _check_end(sound, name)
            return Length(sound.frames / rate, rate, channels)
    except NOT_READ as error:
        reason = str(error)
    frames, rate, channels = 0, 1, 1
    for piece, at in pyav.blocks(file, name, reason):
        frames, rate, channels = frames + len(piece), at, piece.shape[1]
    return Length(frames / rate, rate, channels)


def float_blocks(file: Path | BinaryIO) -> Iterator[NDArray[np.float32]]:
    """Samples (n, channels) of a file that holds floating-point numbers, piece by piece; nothing of any other file.

    Those alone can be NaN, infinite, or far beyond full scale, which no header tells. What libsndfile does not read is
    passed over: `length` and `read` judge it.
    """
    with suppress(*NOT_READ), _opened(file) as sound:
        if sound.subtype in ("FLOAT", "DOUBLE"):
            yield from sound.blocks(1 << 16, dtype="float32", always_2d=True)


def _check(frames: int, room: int, name: str) -> None:
    """TooLongError for more frames than there is room for."""
    if frames > room:
        raise TooLongError(
            f"{name} holds more sound than is read here: {room:,} samples of each channel are; cut it, or export it as "
            "mono at 16 kHz"
        )


def _is_empty(file: Path | BinaryIO) -> bool:
    """True for a file of no bytes."""
    return (file.stat().st_size if isinstance(file, Path) else file.seek(0, os.SEEK_END)) == 0


def _tell_if_cut_short(sound: Any, file: Path | BinaryIO, name: str) -> None:
    """A warning if the header tells of more samples than there are: they are read, and nothing else would say so."""
    if sound.format in ("WAV", "WAVEX", "RF64"):
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as source:
            found = shortened(source)
        told, there = found or (0, 0)
    else:
        seen = re.search(r"^ *(?:SSND|Data Size) *: (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
        told, there = (int(seen[1]), int(seen[2])) if seen and int(seen[1]) not in range(1 << 31, 1 << 33) else (0, 0)
    after = sound.frames / sound.samplerate
    whole = after * told / there if there else 0.0
    if whole - after > NOTED:
        message = f"{name} is cut short: it ends after {after:.1f} s, and its header tells of {whole:.1f} s"
        warnings.warn(message, AudioSAESteerWarning, stacklevel=5)


def _check_end(sound: Any, name: str) -> None:
    reason = f"its header tells of {sound.frames / sound.samplerate:.1f} s"
    try:
        sound.seek(sound.frames - 1)
        if len(sound.read(1)):
            return
    except NOT_READ as error:
        reason = str(error)
    raise AudioError(f"{name} is damaged or cut short: {reason}")


def _piecewise(sound: Any, name: str, skip: int, most: int) -> NDArray[np.float32]:
    """Frames of a file that does not know its length, or is damaged: as far as they go."""
    pieces: list[NDArray[np.float32]] = []
    place, block, reason = 0, BLOCK, ""
    until = UNKNOWN if most < 0 else skip + most
    while block and place < until:
        try:
            if reason:
                sound.seek(place)
            piece = sound.read(min(block, until - place), dtype="float32", always_2d=True)
        except NOT_READ as error:
            reason = reason or str(error)
            block //= 2  # what is left before the damage, or the end, is less than this
            continue
        if not len(piece):
            break
        pieces.append(piece)
        place += len(piece)
    if reason and not place:
        raise RuntimeError(reason)
    if reason and sound.frames < UNKNOWN:
        after = place / sound.samplerate
        message = f"{name} is damaged or cut short after {after:.1f} s ({reason}); what comes before is read"
        warnings.warn(message, AudioSAESteerWarning, stacklevel=5)
    return np.concatenate(pieces)[skip:] if pieces else np.zeros((0, sound.channels), np.float32)


def _by_pyav(
    blocks: Iterator[tuple[NDArray[np.float32], int]], name: str, start: float, seconds: float | None, budget: int
) -> tuple[NDArray[np.float32], int]:
    """A stretch of what PyAV gives piece by piece."""
    pieces: list[NDArray[np.float32]] = []
    place, rate = 0, 1
    for piece, rate in blocks:
        first = round(start * rate)
        until = UNKNOWN if seconds is None else first + round(seconds * rate)
        pieces.append(piece[max(first - place, 0) : max(until - place, 0)])
        place += len(piece)
        _check(place, budget // piece.shape[1], name)
        if place >= until:
            break
    return (np.concatenate(pieces) if pieces else np.zeros((0, 1), np.float32)), rate


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[Any]:
    """libsndfile's view of a file, with a WAV header that knows its length."""
    import soundfile

    source: BinaryIO = file.open("rb") if isinstance(file, Path) else file
    try:
        right = mended(source)
        source.seek(0)
        with soundfile.SoundFile(right or source) as sound:
            yield sound
    finally:
        if isinstance(file, Path):
            source.close()
