"""Sounds of pages as bytes: FLAC, and WAV of short ones, in which a browser can go to a place."""

from __future__ import annotations

import io

import numpy as np

from ...data.audio import Samples

SEEKABLE = 3.0
"""Seconds from which a sound is FLAC: in one of a second or less, Chromium cannot go to a place, and gives up."""


def sound_bytes(samples: Samples, rate: int) -> bytes:
    """A sound (n,), 16 bits; what is beyond full scale is clipped.

    Args:
        samples: mono.
        rate: Hz.
    """
    import soundfile

    file = io.BytesIO()
    kind = sound_ending(len(samples) / rate).upper()
    soundfile.write(file, np.clip(samples, -1, 1), rate, format=kind, subtype="PCM_16")
    return file.getvalue()


def sound_ending(seconds: float) -> str:
    """Ending of the file's name, `flac` or `wav`, of a sound of that length."""
    return "flac" if seconds >= SEEKABLE else "wav"


def sound_type(body: bytes) -> str:
    """Media type of such a file, by its first bytes: indices that were built before hold FLAC alone."""
    return "audio/wav" if body[:4] == b"RIFF" else "audio/flac"
