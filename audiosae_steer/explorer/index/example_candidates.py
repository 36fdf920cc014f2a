"""Candidates for a feature's examples: bounded, exact, and the same whatever order or grouping the clips came in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STEPS = 8
"""Bins per octave of the peaks, of each of which a few clips are kept."""
LEVELS = {"q90": 0.9, "q75": 0.75, "q50": 0.5}
"""Kinds of examples, as shares of the feature's highest peak."""
AROUND = 0.05
"""A clip is at a level if its peak is within this share of the highest."""
Mask = NDArray[np.bool_]


class Candidates(NamedTuple):
    """Rows of features and clips, one for each pair, as parallel arrays (n,)."""

    feature: NDArray[np.int32]
    clip: NDArray[np.uint64]
    """Keys of the clips."""
    value: NDArray[np.float32]
    """Peak; of near misses, what the pre-activation lacks to the threshold, as a number below 0."""
    at: NDArray[np.int32]
    """Frame of the peak."""
    scale: NDArray[np.float32]
    """Highest value of the curve."""
    curve: NDArray[np.object_]
    """The curve where it is above 0: uint16 frames, then as many uint8 levels, in steps of scale / 255."""

    def pick(self, rows: Any) -> Candidates:
        """The rows at these positions, or where a mask holds."""
        return Candidates(*(column[rows] for column in self))


def empty() -> Candidates:
    """No rows."""
    types = (np.int32, np.uint64, np.float32, np.int32, np.float32, object)
    return Candidates(*(np.zeros(0, kind) for kind in types))


def joined(parts: Iterable[Candidates]) -> Candidates:
    """Rows of all parts."""
    columns = list(zip(empty(), *parts, strict=True))
    return Candidates(*(np.concatenate(each) for each in columns))


def drawn(feature: NDArray[np.int32], clip: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each pair in the place of a random one: SplitMix64's finaliser (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = clip + (feature.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def keep(rows: Candidates, top: int, each: int) -> Candidates:
    """Rows that may be examples once all clips are known; for any parts, keep(A ∪ B) = keep(keep(A) ∪ keep(B)).

    Of each feature, those are the `top` highest, the `each` lowest, and `each` of every bin of peaks that the levels
    can reach: a bin below half the highest peak so far is below half the final one.

    Args:
        rows: pairs in which the feature fires.
        top: number of the highest.
        each: number of the others.
    """
    if not len(rows.feature):
        return rows
    down = _order(rows, -rows.value)
    rows = rows.pick(down)
    chosen = _rank(rows.feature) < top
    up = _order(rows, rows.value)
    chosen[up] |= _rank(rows.feature[up]) < each
    starts = np.flatnonzero(np.diff(rows.feature, prepend=-1))
    highest = np.repeat(rows.value[starts].astype(np.float64), np.diff(starts, append=len(rows.feature)))
    least = min(LEVELS.values()) - AROUND
    bins = _bin(rows.value.astype(np.float64))
    reached = np.flatnonzero(bins >= _bin(highest * least))
    lots = drawn(rows.feature[reached], rows.clip[reached])
    order = np.lexsort((rows.clip[reached], lots, bins[reached], rows.feature[reached]))
    reached = reached[order]
    both = rows.feature[reached].astype(np.int64) * (1 << 20) + bins[reached]
    chosen[reached] |= _rank(both) < each
    return rows.pick(chosen)


def nearest(rows: Candidates, each: int) -> Candidates:
    """The `each` near misses of each feature that come nearest to firing, the nearest first; associative as `keep`."""
    rows = rows.pick(_order(rows, -rows.value))
    return rows.pick(_rank(rows.feature) < each)


def examples(rows: Candidates, top: int, each: int) -> dict[str, NDArray[np.int64]]:
    """Positions of the rows of each kind of example but near misses, in the order in which they are shown.

    A clip is an example of one kind only: of the highest, then of the levels, then of the lowest.

    Args:
        rows: what `keep` left of all clips, of any features, in its order.
        top: number of the highest.
        each: number of the others.
    """
    free = _rank(rows.feature) >= top
    found = {"top": np.flatnonzero(~free)}
    if not len(free):
        return {**found, **dict.fromkeys(LEVELS, found["top"]), "threshold": found["top"]}
    starts = np.flatnonzero(np.diff(rows.feature, prepend=-1))
    highest = np.repeat(rows.value[starts].astype(np.float64), np.diff(starts, append=len(free)))
    share = rows.value / highest
    lots = drawn(rows.feature, rows.clip)
    for kind, level in LEVELS.items():
        there = np.flatnonzero(free & (np.abs(share - level) <= AROUND))
        there = there[np.lexsort((rows.clip[there], lots[there], rows.feature[there]))]
        there = there[_rank(rows.feature[there]) < each]
        free[there] = False
        found[kind] = np.sort(there)
    there = np.flatnonzero(free & (share < min(LEVELS.values())))
    there = there[np.lexsort((rows.clip[there], rows.value[there], rows.feature[there]))]
    found["threshold"] = there[_rank(rows.feature[there]) < each]
    return found


def _order(rows: Candidates, value: NDArray[np.float32]) -> NDArray[np.int64]:
    """Order by feature, then value, then clip."""
    return np.lexsort((rows.clip, value, rows.feature))


def _rank(groups: NDArray[Any]) -> NDArray[np.int64]:
    """Place of each row within its group; rows of a group follow each other."""
    if not len(groups):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))
    return np.arange(len(groups)) - np.repeat(first, np.diff(first, append=len(groups)))


def _bin(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(np.floor(np.log2(np.maximum(values, 1e-30)) * STEPS) + (1 << 12), np.int64)
