"""Exact thresholds: for each feature the cut of its activations, and the side of it, that tells a label best."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Thresholds(NamedTuple):
    """The best threshold of each feature."""

    threshold: Numbers
    """(F,) midway between two activations that occur; infinite of a feature with one activation only."""
    inverse: Flags
    """(F,) yes is an activation at or below the threshold, not above."""
    f1: Numbers
    """(F,) F1 on the clips that it was chosen on."""

    def says(self, values: Any) -> Flags:
        """Yes or no (clips, F) to activations (clips, F)."""
        return np.asarray((np.asarray(values) > self.threshold) ^ self.inverse)


class Ranked(NamedTuple):
    """Activations in falling order by feature, so that many labellings are cut at once."""

    order: NDArray[np.int64]
    """(clips, F) clip at each rank."""
    values: Numbers
    """(clips, F) activation at each rank."""
    cuts: Flags
    """(clips − 1, F) the activation changes after this rank."""

    @classmethod
    def of(cls, values: Any) -> Ranked:
        """Activations (clips, F) in order."""
        given = np.asarray(values, float)
        order = np.ascontiguousarray(np.argsort(-given.T, axis=1, kind="stable").T)
        ranked = np.take_along_axis(given, order, axis=0)
        return cls(order, ranked, ranked[:-1] > ranked[1:])

    def scores(self, positive: Flags) -> tuple[Numbers, Numbers]:
        """F1 (clips − 1, F) of yes to all above each rank's cut, and of yes to all below it; −1 where there is no cut.

        Args:
            positive: (clips,) clips of the label.
        """
        total = int(positive.sum())
        hits = np.cumsum(positive[self.order], axis=0)[:-1]
        above = np.arange(1, len(self.order))[:, None]
        below = len(self.order) - above
        direct = 2 * hits / (above + total)
        inverse = 2 * (total - hits) / (below + total)
        return np.where(self.cuts, direct, -1), np.where(self.cuts, inverse, -1)


def best_thresholds(ranked: Ranked, positive: Flags) -> Thresholds:
    """The threshold and the side with the highest F1, of all that activations allow; saying yes to all is none.

    Args:
        ranked: activations of the clips to choose on.
        positive: (clips,) clips of the label.
    """
    direct, inverse = ranked.scores(positive)
    features = np.arange(ranked.order.shape[1])
    inverted = inverse.max(0) > direct.max(0)
    at = np.where(inverted, inverse.argmax(0), direct.argmax(0))
    f1 = np.maximum(direct.max(0), inverse.max(0))
    middle = (ranked.values[at, features] + ranked.values[at + 1, features]) / 2
    # neighbours in float32 may have no float32 between them: in float64 they do
    return Thresholds(np.where(f1 < 0, np.inf, middle), inverted & (f1 >= 0), np.maximum(f1, 0))


def f1_of(hits: Any, said: Any, total: Any) -> Numbers:
    """F1 of numbers of right yeses, of all yeses, and of clips of the label; 0 where there are none of either."""
    return np.asarray(2 * np.asarray(hits, float) / np.maximum(np.asarray(said) + np.asarray(total), 1))
