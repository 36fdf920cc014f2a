"""Planted data for the analyses: codes of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


def bursts(rng: np.random.Generator, frames: int, densities: Sequence[float], length: int = 5) -> Flags:
    """Patterns (frames, F) that fire in runs of about `length` frames, each feature with its density."""
    runs = -(-frames // length) + 1
    starts = rng.random((runs, len(densities))) < np.asarray(densities)
    fired = np.repeat(starts, length, axis=0)
    offset = int(rng.integers(length))
    return fired[offset : offset + frames]


def cut(pattern: Flags, clips: int) -> list[Flags]:
    """Clips of equal length."""
    return list(np.split(pattern, clips))


def log_uniform(rng: np.random.Generator, count: int, low: float = 0.02, high: float = 0.2) -> NDArray[np.float64]:
    """Densities."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))
