"""Ranking of features by how well they tell two kinds of clips apart, with its stability and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from .logistic_regression import Flags, Matrix, fit_logistic, l1_path

Method = Literal["l1", "l2", "fisher", "difference"]
Indices = NDArray[np.int64]
INTERVAL = 1000
"""Bootstrap resamples behind an interval."""
PENALTIES = np.geomspace(1e-3, 30, 16)
"""Inverse strengths of the L1 penalty that are tried, the strongest penalty first."""


class FeatureWeights(NamedTuple):
    """A signed weight for every feature."""

    values: Matrix
    """(F,): above 0 where a feature indicates the concept, below 0 where it indicates its absence."""
    C: float | None
    """Inverse strength of the regression's penalty; None where there is no regression."""


class Separation(NamedTuple):
    """Separation of the two kinds by a score, on clips that it was not fitted on."""

    auc: float
    """Area under the ROC curve."""
    low: float
    """Lower end of its 95 % interval, by resampling recordings."""
    high: float
    """Upper end."""


def weigh(
    features: Matrix,
    labels: Flags,
    method: Method = "l2",
    *,
    wanted: int = 25,
    positive: bool = False,
    C: float | None = None,
    seed: int = 0,
) -> FeatureWeights:
    """A signed weight for every feature.

    `l1` and `l2` are the coefficients of a logistic regression on standardised features (AudioSAE, arXiv 2602.05027,
    ranks by |β|); `fisher` is (μ₁ − μ₀)² / (σ₁² + σ₀²) with the sign of the difference; `difference` is μ₁ − μ₀.

    Args:
        features: pooled features (clips, F).
        labels: (clips,), true where the concept is present.
        method: of the four.
        wanted: with `l1` the penalty is relaxed until so many features have a weight, or as many as it gives.
        positive: count only weights above 0 for that.
        C: with `l1`, the penalty to take instead.
        seed: of the solver.

    Raises:
        SteeringError: the method is unknown, there is one kind only, or a feature is not finite.
        MissingExtraError: scikit-learn is not installed.
    """
    _check(features, labels, method)
    present, absent = features[labels], features[~labels]
    difference: Matrix = present.mean(0) - absent.mean(0)
    if method == "difference":
        return FeatureWeights(difference, None)
    if method == "fisher":
        spread = present.var(0) + absent.var(0)
        # 1e-12 against 0 / 0, and a millionth of the largest: a feature that fires in one clip alone is no certainty
        floor = 1e-12 + 1e-6 * float(spread.max())
        return FeatureWeights(np.sign(difference) * difference**2 / (spread + floor), None)
    values = np.zeros(features.shape[1])
    alive = np.flatnonzero(features.std(0) > 0)
    if not len(alive):
        return FeatureWeights(values, C)
    scaled = standardised(features[:, alive])
    if method == "l2":
        values[alive] = fit_logistic(scaled, labels, seed=seed).weights
        return FeatureWeights(values, 1.0)
    best, most = 1.0, -1
    for found in l1_path(scaled, labels, [C] if C is not None else PENALTIES.tolist(), seed=seed):
        count = int(np.count_nonzero(found.weights > 0 if positive else found.weights))
        if count > most:  # where few features tell the kinds apart for certain, a weak penalty leaves only those
            values[alive], best, most = found.weights, found.C, count
        if count >= wanted:
            break
    return FeatureWeights(values, best)


def _check(features: Matrix, labels: Flags, method: Method) -> None:
    """Refuse what cannot be ranked."""
    if method not in get_args(Method):
        raise SteeringError(f"ranking {method!r} is unknown; expected one of {', '.join(get_args(Method))}")
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise SteeringError(
            f"features {features.shape} and labels {labels.shape} do not go together; expected (clips, F) and (clips,)"
        )
    if not np.isfinite(features).all():
        raise SteeringError("the pooled features hold NaN or infinite numbers; check the audio and the SAE")
    if labels.all() or not labels.any():
        raise SteeringError(
            f"all {len(labels)} clips are of one kind; ranking needs clips with and without the concept"
        )


def standardised(features: Matrix) -> Matrix:
    """Each feature with mean 0 and variance 1; one that never varies stays 0."""
    spread = features.std(0)
    scaled: Matrix = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def top_features(weights: Matrix, count: int, positive: bool = False) -> Indices:
    """The indices of the largest weights, by size or, with `positive`, of those above 0; the first wins a tie."""
    sizes = weights if positive else np.abs(weights)
    order = np.argsort(-sizes, kind="stable")[:count]
    chosen: Indices = order[sizes[order] > 0]
    return chosen


def probe_scores(features: Matrix, labels: Flags, held: Matrix, seed: int = 0) -> Matrix:
    """Log odds (held-out clips,) of an L2 logistic regression on a few features, fitted on `features` alone."""
    middle, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    return fit_logistic((features - middle) / spread, labels, seed=seed).log_odds((held - middle) / spread)


def auc(scores: Matrix, labels: Flags) -> float:
    """Area under the ROC curve: how often a clip with the concept scores above one without, ties counting half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)]
    present = int(labels.sum())
    return float((ranks[labels].sum() - present * (present + 1) / 2) / (present * (len(labels) - present)))


def separation(scores: Matrix, labels: Flags, groups: Sequence[str], seed: int = 0) -> Separation:
    """The area under the ROC curve, with an interval from resampled recordings."""
    draw = resampler(labels, groups)
    rng = np.random.default_rng(seed)
    found = [auc(scores[rows], labels[rows]) for rows in (draw(rng) for _ in range(INTERVAL))]
    low, high = np.quantile(found, [0.025, 0.975])
    return Separation(auc(scores, labels), float(low), float(high))


def stability(
    features: Matrix,
    labels: Flags,
    groups: Sequence[str],
    chosen: Indices,
    choose: Callable[[Matrix, Flags], Indices],
    *,
    resamples: int = 50,
    seed: int = 0,
    progress: Tell | None = None,
) -> Matrix:
    """Share of bootstrap resamples in which each chosen feature is chosen again: (chosen,).

    Recordings are drawn with replacement within either kind, so that a feature found through one loud recording shows.

    Args:
        features: pooled features (clips, F).
        labels: (clips,), true where the concept is present.
        groups: the recording of each clip.
        chosen: features chosen on all clips.
        choose: chooses as many on some of the clips, in the same way.
        resamples: how often to draw.
        seed: of the draws.
        progress: called with "resampling", how many are done, and how many there are.
    """
    draw = resampler(labels, groups)
    rng = np.random.default_rng(seed)
    again = np.zeros(len(chosen))
    for number in range(resamples):
        rows = draw(rng)
        again += np.isin(chosen, choose(features[rows], labels[rows]))
        if progress is not None:
            progress("resampling", number + 1, resamples)
    return again / max(resamples, 1)


def resampler(labels: Flags, groups: Sequence[str]) -> Callable[[np.random.Generator], Indices]:
    """A function that draws rows: within either kind as many recordings as there are, with replacement."""
    names = np.asarray(groups)
    kinds = [
        [np.flatnonzero((names == name) & (labels == kind)) for name in sorted(set(names[labels == kind]))]
        for kind in (True, False)
    ]

    def draw(rng: np.random.Generator) -> Indices:
        parts = [parts[i] for parts in kinds for i in rng.integers(len(parts), size=len(parts))]
        return np.concatenate(parts).astype(np.int64)

    return draw
