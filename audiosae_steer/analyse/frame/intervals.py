"""Intervals by bootstrap over groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
"""Bootstrap draws behind an interval."""
Numbers = NDArray[np.float64]


FEW_GROUPS = 5
"""Groups below which a bootstrap over them gives intervals that are too narrow."""


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{self.low:.3f}, {self.high:.3f}]"


def group_rows(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """Rows of each group, the groups in the order of their names."""
    _, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    place = place.reshape(-1)
    order = np.argsort(place, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(place[order])) + 1)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], Any], groups: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """The 95 % interval of a statistic, with whole groups drawn with replacement.

    Args:
        statistic: of rows, some of which come several times; draws for which it gives NaN are left out.
        groups: group of each row.
        draws: number of draws.
        seed: seed of the draws.

    Returns:
        None where there are fewer than two groups, or nothing but NaN.
    """
    rows = group_rows(groups)
    rng = np.random.default_rng(seed)
    if len(rows) < 2:
        return None
    found = [
        float(statistic(np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])))
        for _ in range(draws)
    ]
    return interval_of(found)


def group_counts(groups: int, *, draws: int = DRAWS, seed: int = 0) -> Numbers:
    """Number of times that each group is drawn (draws, groups), for statistics of sums over groups.

    Weighted by it, the sums of groups (groups, n) give those of the draws: `group_counts(...) @ sums`.
    """
    rng = np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(draws)]
    return np.stack(drawn).astype(np.float64)


def interval_of(draws: Any) -> Interval | None:
    """The middle 95 % of draws (n,), NaN left out; None if nothing is left."""
    values = np.asarray(draws, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(low), float(high))


def few_groups(groups: int, what: str) -> list[str]:
    """A warning that intervals over so few groups are too narrow; none where they are enough. `what`: "scores are"."""
    if groups >= FEW_GROUPS:
        return []
    return [f"{what} of {groups} speakers or recordings only: intervals over so few are too narrow"]
