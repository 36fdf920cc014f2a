"""Pitch engines by name: SwiftF0 by default, CREPE-tiny for the papers' sake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE
from ...errors import SteeringError
from ..frame.extra import import_extra
from .crepe_tiny import CrepeTiny
from .pitch_engines import Numbers, PitchEngine, Pitches

ENGINES = ("swift", "crepe-tiny")


class SwiftF0:
    """SwiftF0 (arXiv 2508.18440): monophonic, 47 to 2,094 Hz, in frames of 16 ms; the nearest frame answers.

    Raises:
        MissingExtraError: `swift-f0` is not installed.
    """

    name = "swift"

    def __init__(self) -> None:
        self._detector = import_extra("swift_f0", "pitch").SwiftF0(threads=1)

    def __call__(self, samples: NDArray[np.float32], times: Numbers) -> Pitches:
        """Pitch at the nearest of its frames."""
        found = self._detector.detect(samples, SAMPLE_RATE)
        step = found.timestamps[1] if len(found.timestamps) > 1 else 1.0
        at = np.clip(np.round(times / step).astype(np.int64), 0, len(found.timestamps) - 1)
        return Pitches(found.pitch_hz[at], found.confidence[at])


def pitch_engine(engine: str | PitchEngine = "swift") -> PitchEngine:
    """A pitch engine by name, `swift` or `crepe-tiny`, or one's own as it is.

    Raises:
        SteeringError: the name is unknown.
        MissingExtraError: its package is not installed.
    """
    if not isinstance(engine, str):
        return engine
    if engine == "swift":
        return SwiftF0()
    if engine == "crepe-tiny":
        return CrepeTiny()
    raise SteeringError(f"pitch engine {engine!r} is unknown; expected one of {', '.join(ENGINES)}")
