"""Scores of a property's map on held-out frames: accuracy, its interval and its nulls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra
from ..frame.intervals import Interval, group_counts, interval_of
from ..frame.nulls import p_value, permuted_labels, shifted_rows
from ..frame.provenance import finite, rounded
from .property_bins import Kinds
from .property_fits import Fitted, Matrix
from .property_records import MapScore, PropertySettings

SHIFTS = 10


class Held(NamedTuple):
    """Held-out frames of one property, clip after clip."""

    kinds: Kinds
    """(frames,) class, −1 where it is missing."""
    values: Matrix
    """(frames,) value, NaN where it is missing."""
    starts: Kinds
    """(clips + 1,) first frame of each clip, and the number of frames."""
    groups: tuple[str, ...]
    """Group of each clip."""
    rate: float | None

    @property
    def known(self) -> NDArray[np.bool_]:
        """Frames that have a class."""
        found: NDArray[np.bool_] = self.kinds >= 0
        return found

    def persistence(self) -> float:
        """Share of the frames that have the class of the frame before: how much frames of a clip repeat each other."""
        own = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        pair = (own[1:] == own[:-1]) & self.known[1:] & self.known[:-1]
        return float((self.kinds[1:] == self.kinds[:-1])[pair].mean()) if pair.any() else 0.0


@dataclass(frozen=True)
class MapJudge:
    """Scores of maps of one property, all from the same draws and permutations."""

    held: Held
    settings: PropertySettings

    def score(
        self, name: str, told: Kinds, guessed: Matrix, fitted: Fitted, best: NDArray[np.bool_] | None
    ) -> tuple[MapScore, NDArray[np.bool_]]:
        """Scores of what a map tells, and the frames that it tells rightly.

        Args:
            name: of the dictionary.
            told: class (frames,) that it gives.
            guessed: value (frames,) that it gives.
            fitted: the map.
            best: frames that the SAE tells rightly; None: this is the SAE.
        """
        known = self.held.known
        right = (told == self.held.kinds) & known
        accuracy = float(right.sum() / max(known.sum(), 1))
        null = self._null(told)
        lead = None if best is None else float((best.sum() - right.sum()) / max(known.sum(), 1))
        score = MapScore(
            name=name,
            features=fitted.weights.shape[1],
            accuracy=finite(accuracy, 7),
            interval=self._interval(right.astype(float)),
            null=_middle(null),
            p=finite(float(p_value(accuracy, null)), 7),
            shifted=finite(self._shifted(told), 7),
            within_one=finite((np.abs(told - self.held.kinds) <= 1)[known].mean() if known.any() else 0, 7),
            rank_corr=_ranked(told[known], self.held.kinds[known]),
            r2=finite(_explained(guessed, self.held.values), 7),
            C=fitted.C,
            lead=None if lead is None else finite(lead, 7),
            lead_interval=None if best is None else self._interval(best.astype(float) - right),
        )
        return score, right

    def _interval(self, counted: Matrix) -> Interval | None:
        """95 % interval of the mean over frames with a class, whole groups drawn."""
        names, place = np.unique(np.asarray(self.held.groups, dtype=str), return_inverse=True)
        if len(names) < 2:
            return None
        own = np.repeat(place.reshape(-1), np.diff(self.held.starts))
        sums = np.bincount(own, counted * self.held.known, len(names))
        totals = np.bincount(own, self.held.known, len(names))
        drawn = group_counts(len(names), draws=self.settings.draws, seed=self.settings.seed)
        found = interval_of((drawn @ sums) / np.maximum(drawn @ totals, 1))
        return None if found is None else Interval(finite(found.low, 7), finite(found.high, 7))

    def _null(self, told: Kinds) -> Matrix:
        """Accuracies with each clip labelled by another: its labels in turn, over and over if it is shorter."""
        rng = np.random.default_rng(self.settings.seed)
        lengths = np.diff(self.held.starts)
        clips = np.arange(len(lengths))
        found = []
        for _ in range(self.settings.permutations):
            other = permuted_labels(clips, self.held.groups, rng)
            rows = np.concatenate([
                self.held.starts[j] + np.arange(lengths[i]) % max(lengths[j], 1) for i, j in enumerate(other)
            ])  # fmt: skip
            kinds = self.held.kinds[np.minimum(rows, len(told) - 1)]
            found.append(((kinds == told) & (kinds >= 0)).sum() / max((kinds >= 0).sum(), 1))
        return np.asarray(found)

    def _shifted(self, told: Kinds) -> float:
        rng = np.random.default_rng([self.settings.seed, 1])
        found = []
        for _ in range(SHIFTS):
            rows, _ = shifted_rows(self.held.starts, self.held.rate, rng)
            found.append((self.held.kinds[rows] == told)[self.held.known[rows]].mean())
        return float(np.mean(found))


def _ranked(told: Kinds, kinds: Kinds) -> float | None:
    if len(np.unique(told)) < 2 or len(np.unique(kinds)) < 2:
        return None
    return rounded(import_extra("scipy.stats").spearmanr(told, kinds).statistic, 7)


def _explained(guessed: Matrix, values: Matrix) -> float:
    known = ~np.isnan(values)
    centred = values[known] - values[known].mean() if known.any() else values[known]
    total = float(centred @ centred)
    error = guessed[known] - values[known]
    return 1 - float(error @ error) / total if total > 0 else 0.0


def _middle(drawn: Matrix) -> Interval:
    found = interval_of(drawn)
    return Interval(0.0, 0.0) if found is None else Interval(finite(found.low, 7), finite(found.high, 7))
