"""Top features of labelled clips: ranked on one part of the recordings, and measured on the other."""

from __future__ import annotations

import numpy as np

from ...errors import SteeringError
from ...evaluate.metrics.feature_ranking import (
    Indices,
    auc,
    probe_scores,
    separation,
    stability,
    top_features,
    weigh,
)
from ...evaluate.metrics.logistic_regression import Flags, Matrix
from ...io.progress import Tell
from .pooling import Pooled
from .results import ContrastResult, Feature, LabelledRows
from .settings import DiscoverSettings

DRAWS = 20
"""Sets of random features behind the chance level."""


def rank_features(
    rows: LabelledRows, pooled: Pooled, settings: DiscoverSettings, progress: Tell | None = None
) -> ContrastResult:
    """Features by falling weight on the rows that are not held out, and their figures on those that are.

    Args:
        rows: clips, labels and split.
        pooled: their features, row by row.
        settings: ranking, number of features, resamples and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: no feature indicates the concept.
    """
    fit, test = pooled.features[~rows.held], pooled.features[rows.held]
    labels, test_labels = rows.labels[~rows.held], rows.labels[rows.held]
    positive, seed = settings.edit != "add", settings.seed
    weights = weigh(fit, labels, settings.rank, wanted=settings.top, positive=positive, seed=seed)
    chosen = top_features(weights.values, settings.top, positive)
    if not len(chosen):
        raise SteeringError(
            f"no feature indicates the concept, so there is nothing to {settings.edit}; give more, or more different, "
            "clips, or try another ranking, layer or SAE"
        )

    def choose_again(features: Matrix, flags: Flags) -> Indices:
        found = weigh(features, flags, settings.rank, wanted=len(chosen), positive=positive, C=weights.C, seed=seed)
        return top_features(found.values, len(chosen), positive)

    def scores_of(columns: Indices) -> Matrix:
        return probe_scores(fit[:, columns], labels, test[:, columns], seed)

    again = stability(
        fit, labels, rows.groups_of(held=False), chosen, choose_again,
        resamples=settings.resamples, seed=seed, progress=progress,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    alive = np.flatnonzero(fit.std(0) > 0)
    draws = [rng.choice(alive, min(len(chosen), len(alive)), replace=False) for _ in range(DRAWS)]
    scores = scores_of(chosen)
    return ContrastResult(
        settings=settings,
        rows=rows,
        peaks=pooled.peaks[:, chosen],
        features=_features(rows, pooled, chosen, weights.values, again),
        scores=scores,
        probe=separation(scores, test_labels, rows.groups_of(held=True), seed),
        random_auc=float(np.mean([auc(scores_of(some), test_labels) for some in draws])),
    )


def _features(
    rows: LabelledRows, pooled: Pooled, chosen: Indices, weights: Matrix, again: Matrix
) -> tuple[Feature, ...]:
    held, labels = rows.held, rows.labels
    return tuple(
        Feature(
            number=int(i),
            weight=float(weights[i]),
            auc=auc(pooled.features[held, i], labels[held]),
            mean_present=float(pooled.features[labels, i].mean()),
            mean_absent=float(pooled.features[~labels, i].mean()),
            fires_present=float((pooled.peaks[labels, i] > 0).mean()),
            fires_absent=float((pooled.peaks[~labels, i] > 0).mean()),
            stability=float(stable),
        )
        for i, stable in zip(chosen, again, strict=True)
    )
