"""Scores of features as detectors of a label, on clips that their thresholds were not chosen on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import ClipCodes
from ..frame.extra import import_extra
from ..frame.intervals import Interval, group_counts, group_rows, interval_of
from ..frame.parts import Parts
from ..frame.provenance import finite
from .label_records import FeatureScore, LabelSettings
from .label_thresholds import Flags, Numbers, Thresholds, f1_of


def scores_of(
    codes: ClipCodes,
    values: Numbers,
    features: NDArray[np.int64],
    chosen: Thresholds,
    q: Numbers,
    positive: Flags,
    groups: Sequence[str],
    tried: tuple[Parts, LabelSettings],
) -> list[FeatureScore]:
    """Scores of some features on the part `report`.

    Args:
        codes: codes of all clips and features.
        values: (clips, n) pooled activations of these features.
        features: (n,) their numbers.
        chosen: (n,) their thresholds.
        q: (n,) their q-values.
        positive: (clips,) clips of the label.
        groups: group of each clip of `report`.
        tried: the parts, and the settings.
    """
    parts, settings = tried
    rows = parts.report
    said, own = chosen.says(values[rows]), positive[rows]
    hits, yes = (own[:, None] & said).sum(0), said.sum(0)
    f1 = f1_of(hits, yes, own.sum())
    intervals = _intervals(said, own, groups, settings)
    precision_of = import_extra("sklearn.metrics").average_precision_score
    found = []
    for i, feature in enumerate(features):
        sign = -1 if chosen.inverse[i] else 1
        fired = codes.fired[rows, feature].astype(float)
        if chosen.inverse[i]:
            fired = codes.frames[rows] - fired
        either = fired.sum() + (codes.frames[rows] - fired)[own].sum()
        numbers = (
            chosen.f1[i], f1[i], hits[i] / max(yes[i], 1), hits[i] / max(own.sum(), 1),
            precision_of(own, sign * values[rows, i]), q[i], fired[own].sum() / max(either, 1),
        )  # fmt: skip
        find_f1, own_f1, precision, recall, average, own_q, overlap = (finite(each, 6) for each in numbers)
        threshold = finite(chosen.threshold[i])
        found.append(
            FeatureScore(
                int(feature), bool(chosen.inverse[i]), threshold, find_f1, own_f1, intervals[i], precision, recall,
                average, own_q, overlap,
            )
        )  # fmt: skip
    return found


def _intervals(said: Flags, own: Flags, groups: Sequence[str], settings: LabelSettings) -> list[Interval | None]:
    """95 % interval of each feature's F1, groups drawn with replacement; None for one group."""
    rows = group_rows(groups)
    if len(rows) < 2:
        return [None] * said.shape[1]
    hits = np.stack([(own[each, None] & said[each]).sum(0) for each in rows])
    yes = np.stack([said[each].sum(0) for each in rows])
    total = np.array([own[each].sum() for each in rows])
    drawn = group_counts(len(rows), draws=settings.draws, seed=settings.seed)
    f1 = f1_of(drawn @ hits, drawn @ yes, (drawn @ total)[:, None])
    f1[drawn @ total == 0] = np.nan  # a draw without the label says nothing
    found = [interval_of(column) for column in f1.T]
    return [each and Interval(finite(each.low, 6), finite(each.high, 6)) for each in found]
