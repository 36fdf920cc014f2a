"""Windows of at most 30 s of audio files, or shorter, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .audio import SAMPLE_RATE, WINDOW, Samples, load_audio
from .audio_paths import recording_of
from .sound_files import length

HELD_OUT_ONE_IN = 20
"""One recording in so many is held out."""


class Window(NamedTuple):
    """A stretch of an audio file, at most 30 s long."""

    path: Path
    """The file."""
    start: int
    """First sample at 16 kHz."""
    held_out: bool
    """It is kept from training."""
    length: int = WINDOW
    """Most samples at 16 kHz that it has."""


def windows_of(files: Sequence[Path], seconds: float = WINDOW / SAMPLE_RATE) -> list[Window]:
    """Windows of at most so many seconds of every file, in order; a rest of less than 0.25 s is left out.

    Raises:
        AudioError: a file is not audio.
    """
    windows = []
    for path in files:
        samples = int(length(path, str(path)).seconds * SAMPLE_RATE)
        digest = hashlib.sha256(recording_of(path).encode()).hexdigest()
        held_out = int(digest, 16) % HELD_OUT_ONE_IN == 0
        step = round(seconds * SAMPLE_RATE)
        starts = range(0, max(samples - SAMPLE_RATE // 4, 1), step)
        windows += [Window(path, start, held_out, step) for start in starts]
    return windows


def read_window(window: Window, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Mono samples (n,) of a window at `sample_rate` Hz."""
    start = window.start * sample_rate // SAMPLE_RATE
    return load_audio(window.path, sample_rate)[start : start + window.length * sample_rate // SAMPLE_RATE]
