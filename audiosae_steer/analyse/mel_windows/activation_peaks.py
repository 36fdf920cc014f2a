"""Peaks of a feature's activation, kept apart from each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Peak(NamedTuple):
    """A local maximum of an activation."""

    clip: int
    frame: int
    activation: float


def peaks_of(
    activations: Sequence[NDArray[np.float32]], rate: float, *, apart: float = 0.5, per_clip: int = 5, most: int = 200
) -> list[Peak]:
    """Local maxima of an activation, the highest first.

    Args:
        activations: (frames,) of each clip; above 0 where the feature fires.
        rate: frames per second.
        apart: seconds between two of a clip, at least; the higher one stays.
        per_clip: number of a clip, at most.
        most: number in all, at most.
    """
    found: list[Peak] = []
    for clip, values in enumerate(activations):
        padded = np.pad(values, 1, constant_values=-np.inf)
        top = np.flatnonzero((values > 0) & (values >= padded[:-2]) & (values >= padded[2:]))
        kept: list[int] = []
        for frame in top[np.argsort(-values[top], kind="stable")]:
            if len(kept) < per_clip and all(abs(int(frame) - other) >= apart * rate for other in kept):
                kept.append(int(frame))
        found += [Peak(clip, frame, float(values[frame])) for frame in kept]
    return sorted(found, key=lambda peak: (-peak.activation, peak.clip, peak.frame))[:most]
