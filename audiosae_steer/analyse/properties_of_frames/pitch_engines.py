"""Interface of the engines that measure the fundamental frequency of a sound."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Pitches(NamedTuple):
    """Fundamental frequency at some times."""

    hz: Numbers
    """(times,) frequency in Hz."""
    confidence: Numbers
    """(times,) from 0 to 1; from 0.5 on a frame has a pitch."""


class PitchEngine(Protocol):
    """Measures pitch."""

    @property
    def name(self) -> str:
        """Name that results record."""

    def __call__(self, samples: NDArray[np.float32], times: Numbers) -> Pitches:
        """Pitch of mono samples (n,) at 16 kHz, at times (times,) in seconds."""


def midi_of(hz: Numbers) -> Numbers:
    """MIDI note numbers of frequencies: 69 is 440 Hz, and 12 an octave. NaN where there is no frequency."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = np.where(hz > 0, 69 + 12 * np.log2(np.asarray(hz, float) / 440), np.nan)
    return found
