"""Null distributions: permuted labels, circular shifts, p-values, and their correction for many features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]
PERMUTATIONS = 200
"""Draws from a null by default."""
LEAST_SHIFT = 1.0
"""Seconds of the smallest circular shift."""


def p_value(seen: Any, null: Any) -> Numbers:
    """(1 + number of null draws that reach what was seen) / (1 + draws).

    Args:
        seen: a number, or (features,).
        null: (draws,) or (draws, features), larger where there is more.

    Raises:
        SteeringError: there are no draws.
    """
    drawn = np.asarray(null, float)
    if not len(drawn):
        raise SteeringError("a p-value takes at least one draw from the null; give a number of permutations above 0")
    result: Numbers = (1 + (drawn >= np.asarray(seen, float)).sum(0)) / (1 + len(drawn))
    return result


def holm(p: Any) -> Numbers:
    """p-values (n,) adjusted for the family-wise error (Holm 1979)."""
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)) if len(values) else values
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def benjamini_hochberg(p: Any) -> Numbers:
    """q-values (n,): p-values adjusted for the false discovery rate (Benjamini and Hochberg 1995).

    Raises:
        MissingExtraError: scipy is not installed.
    """
    values = np.asarray(p, float)
    if not len(values):
        return values
    from .extra import import_extra

    result: Numbers = np.asarray(import_extra("scipy.stats").false_discovery_control(values, method="bh"))
    return result


def permuted_labels(labels: Any, groups: Sequence[str], rng: np.random.Generator) -> NDArray[Any]:
    """Labels (n,) permuted over whole clips, as they are exchangeable.

    Where each group has one label (gender, of speakers), groups exchange their labels, since clips of one group are no
    independent witnesses; otherwise labels are permuted within each group.

    Args:
        labels: (n,), of any type.
        groups: group of each clip.
        rng: generator to draw from.
    """
    given = np.asarray(labels)
    _, first, place = np.unique(np.asarray(groups, dtype=str), return_index=True, return_inverse=True)
    place = place.reshape(-1)
    if (given == given[first][place]).all():
        return np.asarray(given[first][rng.permutation(len(first))][place])
    permuted = given.copy()
    for group in range(len(first)):
        rows = np.flatnonzero(place == group)
        permuted[rows] = given[rows[rng.permutation(len(rows))]]
    return permuted


def shifted_rows(
    starts: Any, rate: float | None, rng: np.random.Generator, least: float = LEAST_SHIFT
) -> tuple[Indices, int]:
    """Rows (frames,) in the order of a random circular shift within each clip, and how many clips are too short for it.

    Row i of the shifted data is row `rows[i]` of the data. A clip too short to be shifted by `least` seconds in either
    direction is shifted by half of its length.

    Args:
        starts: (clips + 1,) first row of each clip, and the number of rows.
        rate: frames per second; None, where frames have no time, takes a shift of at least one frame.
        rng: generator to draw from.
        least: seconds of the smallest shift.
    """
    edges = np.asarray(starts, np.int64)
    least_frames = 1 if rate is None else max(int(np.ceil(least * rate)), 1)
    rows = np.arange(edges[-1])
    short = 0
    for first, last in pairwise(edges.tolist()):
        frames = last - first
        if frames >= 2 * least_frames:
            by = int(rng.integers(least_frames, frames - least_frames + 1))
        else:
            by = frames // 2
            short += 1
        rows[first:last] = first + (np.arange(frames) - by) % max(frames, 1)
    return rows, short
