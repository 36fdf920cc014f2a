"""Time profiles: firing of features before and after the onsets and offsets of phones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import Patterns

Counts = NDArray[np.int64]


def profile(patterns: Patterns, feature: int, events: Counts, lags: int) -> tuple[float | None, ...]:
    """Share of events at which a feature fires, at each lag from −lags to lags; lags outside of a clip are left out.

    Args:
        patterns: frames.
        feature: the feature.
        events: (events, 2) clip and frame of each.
        lags: frames to either side.
    """
    fired = np.asarray(patterns.active[:, [feature]].todense()).reshape(-1)
    first, last = patterns.starts[events[:, 0]], patterns.starts[events[:, 0] + 1]
    found: list[float | None] = []
    for lag in range(-lags, lags + 1):
        place = events[:, 1] + lag
        inside = (place >= first) & (place < last)
        found.append(round(float(fired[place[inside]].mean()), 6) if inside.any() else None)
    return tuple(found)
