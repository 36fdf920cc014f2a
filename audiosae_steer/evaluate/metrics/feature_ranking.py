"""Which features tell two kinds of clips apart, how well, and how surely."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError, SteeringError

Method = Literal["l1", "l2", "fisher", "difference"]
Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
INTERVAL = 1000
"""Resamples behind an interval."""


class Weights(NamedTuple):
    """What each feature says about a clip."""

    values: Matrix
    """(F,): above 0 where a feature indicates the concept, below 0 where it indicates its absence."""
    C: float | None
    """Inverse strength of the regression's penalty; None where there is no regression."""


class Separation(NamedTuple):
    """How well a score tells the two kinds apart on clips it was not fitted on."""

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
) -> Weights:
    """A signed weight for every feature.

    `l1` and `l2` are the coefficients of a logistic regression on standardised features (AudioSAE, arXiv 2602.05027,
    ranks by |β|); `fisher` is (μ₁ − μ₀)² / (σ₁² + σ₀²) with the sign of the difference; `difference` is μ₁ − μ₀.

    Args:
        features: pooled features (clips, F).
        labels: (clips,), true where the concept is present.
        method: how to weigh.
        wanted: with `l1` the penalty is relaxed until so many features have a weight, or as many as it gives.
        positive: count only weights above 0 for that.
        C: with `l1`, the penalty to take instead.
        seed: of the solver.

    Raises:
        SteeringError: the method is unknown, there is one kind only, or a feature is not finite.
        MissingExtraError: scikit-learn is not installed.
    """
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
    present, absent = features[labels], features[~labels]
    difference: Matrix = present.mean(0) - absent.mean(0)
    if method == "difference":
        return Weights(difference, None)
    if method == "fisher":
        spread = present.var(0) + absent.var(0)
        floor = 1e-12 + 1e-6 * float(spread.max())  # a feature that fires in one clip alone is no certainty
        return Weights(np.sign(difference) * difference**2 / (spread + floor), None)
    values = np.zeros(features.shape[1])
    alive = np.flatnonzero(features.std(0) > 0)
    if not len(alive):
        return Weights(values, C)
    scaled = standardised(features[:, alive])
    if method == "l2":
        values[alive] = regression(scaled, labels, 0.0, 1.0, seed).coef_[0]
        return Weights(values, 1.0)
    best, most = 1.0, -1
    for strength in [C] if C is not None else np.geomspace(1e-3, 30, 16).tolist():
        found = regression(scaled, labels, 1.0, strength, seed).coef_[0]
        count = int(np.count_nonzero(found > 0 if positive else found))
        if count > most:  # where few features tell the kinds apart for certain, a weak penalty leaves only those
            values[alive], best, most = found, strength, count
        if count >= wanted:
            break
    return Weights(values, best)


def standardised(features: Matrix) -> Matrix:
    """Each feature with mean 0 and variance 1; one that never varies stays 0."""
    spread = features.std(0)
    scaled: Matrix = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    return scaled


def regression(scaled: Matrix, labels: Flags, l1: float, C: float, seed: int) -> Any:
    """A logistic regression of scikit-learn's, fitted; `l1` is 1 for an L1 penalty, 0 for an L2.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError("ranking needs scikit-learn; run: pip install 'audiosae-steer[train]'") from error
    solver = "liblinear" if l1 else "lbfgs"
    model: Any = LogisticRegression(
        solver=solver, l1_ratio=l1, C=C, class_weight="balanced", random_state=seed, max_iter=500
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(scaled, labels)
    return model


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
    model = regression((features - middle) / spread, labels, 0.0, 1.0, seed)
    scores: Matrix = model.decision_function((held - middle) / spread)
    return scores


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
    method: Method,
    *,
    positive: bool = False,
    C: float | None = None,
    resamples: int = 50,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Matrix:
    """In what share of bootstrap resamples each chosen feature is again among as many top ones: (chosen,).

    Recordings are drawn with replacement within either kind, so that a feature found through one loud recording shows.
    """
    draw = resampler(labels, groups)
    rng = np.random.default_rng(seed)
    again = np.zeros(len(chosen))
    for number in range(resamples):
        rows = draw(rng)
        weights = weigh(features[rows], labels[rows], method, wanted=len(chosen), positive=positive, C=C, seed=seed)
        again += np.isin(chosen, top_features(weights.values, len(chosen), positive))
        if progress is not None:
            progress("resampling", number + 1, resamples)
    return again / max(resamples, 1)


def resampler(labels: Flags, groups: Sequence[str]) -> Callable[[np.random.Generator], Indices]:
    """Draws rows: within either kind as many recordings as there are, with replacement."""
    names = np.asarray(groups)
    kinds = [
        [np.flatnonzero((names == name) & (labels == kind)) for name in sorted(set(names[labels == kind]))]
        for kind in (True, False)
    ]

    def draw(rng: np.random.Generator) -> Indices:
        parts = [parts[i] for parts in kinds for i in rng.integers(len(parts), size=len(parts))]
        return np.concatenate(parts).astype(np.int64)

    return draw
