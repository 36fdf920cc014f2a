"""Sparse regressions of attributes on codes: a penalty that grouped folds choose, and what the weights say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ..frame.extra import import_extra

Matrix = NDArray[np.float64]
Rows = NDArray[np.int64]
LEAST = 0.02
"""Smallest penalty to try, of the one that leaves nothing."""
ITERATIONS = 3000
TOLERANCE = 1e-3


class Fit(NamedTuple):
    """Regression of one attribute on one code, both standardised on the clips that it was fitted on."""

    weights: Matrix
    """(n,) of the standardised columns; 0 of those that never vary."""
    alpha: float
    """Penalty, as the paper counts it: of the mean squared error over two."""
    mean: Matrix
    """(n,) of the columns."""
    spread: Matrix
    """(n,) of the columns; 1 of those that never vary."""

    def predict(self, code: Matrix) -> Matrix:
        """Standardised attribute (clips,) of a code (clips, n)."""
        used = np.flatnonzero(self.weights)
        found: Matrix = ((code[:, used] - self.mean[used]) / self.spread[used]) @ self.weights[used]
        return found


def fit_lasso(code: Matrix, target: Matrix, groups: Sequence[str], *, folds: int = 5, alphas: int = 25) -> Fit:
    """Lasso with the largest penalty whose error over grouped folds is within one standard error of the least.

    That rule keeps numbers out that only the folds' noise lets in: what is counted afterwards is how many there are.

    Args:
        code: (clips, n).
        target: standardised attribute (clips,).
        groups: group of each clip; a group is in one fold.
        folds: most folds; fewer where there are fewer groups.
        alphas: penalties to try, from the one that leaves nothing down to a fiftieth of it.

    Raises:
        SteeringError: there are fewer than two groups.
        MissingExtraError: scikit-learn is not installed.
    """
    count = min(folds, len(set(groups)))
    if count < 2:
        raise SteeringError(
            "the clips to fit on are of one speaker or recording, so no penalty can be chosen on others; give more"
        )
    mean, spread = code.mean(0), code.std(0)
    varies = spread > 1e-12
    spread = np.where(varies, spread, 1.0)
    scaled = np.asfortranarray(((code - mean) / spread)[:, varies])
    weights = np.zeros(code.shape[1])
    most = float(np.abs(scaled.T @ target).max()) / len(target) if varies.any() else 0.0
    if most <= 1e-12:
        return Fit(weights, 0.0, mean, spread)
    path = most * np.geomspace(1, LEAST, alphas)
    errors = []
    for train, test in import_extra("sklearn.model_selection").GroupKFold(count).split(scaled, target, groups):
        centre, middle = scaled[train].mean(0), target[train].mean()
        found = _path(scaled[train] - centre, target[train] - middle, path)
        errors.append(((target[test, None] - middle - (scaled[test] - centre) @ found) ** 2).mean(0))
    scores = np.stack(errors)
    least = int(scores.mean(0).argmin())
    bound = scores.mean(0)[least] + scores.std(0, ddof=1)[least] / np.sqrt(count)
    alpha = float(path[np.flatnonzero(scores.mean(0) <= bound)[0]])
    weights[varies] = _path(scaled, target, np.array([alpha]))[:, 0]
    return Fit(weights, alpha, mean, spread)


def refit(code: Matrix, target: Matrix, alpha: float) -> Matrix:
    """Weights (n,) on other clips, with a penalty that is known."""
    mean, spread = code.mean(0), code.std(0)
    varies = spread > 1e-12
    weights = np.zeros(code.shape[1])
    if alpha > 0 and varies.any():
        scaled = np.asfortranarray((code[:, varies] - mean[varies]) / spread[varies])
        weights[varies] = _path(scaled, target - target.mean(), np.array([alpha]))[:, 0]
    return weights


def effective(weights: Matrix) -> float | None:
    """Number of columns that carry an attribute, exp(H) of the shares of the weights without their signs; None where
    all are 0."""
    total = np.abs(weights).sum()
    if total <= 0:
        return None
    shares = np.abs(weights[weights != 0]) / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def concentration(weights: Matrix, of: int) -> float | None:
    """1 − H / log n of the shares of the weights, 1 where one column has them all; None where all are 0, or n < 2."""
    found = effective(weights)
    return None if found is None or of < 2 else float(1 - np.log(found) / np.log(of))


def permutation_importance(fit: Fit, code: Matrix, target: Matrix, repeats: int, seed: int) -> Matrix:
    """Rise (n,) of the mean squared error on held-out clips when a column is permuted over them, the mean of repeats;
    0 where it does not rise."""
    rng = np.random.default_rng(seed)
    base = fit.predict(code) - target
    rise = np.zeros(len(fit.weights))
    for column in np.flatnonzero(fit.weights):
        z = (code[:, column] - fit.mean[column]) / fit.spread[column] * fit.weights[column]
        errors = [((base - z + z[rng.permutation(len(z))]) ** 2).mean() for _ in range(repeats)]
        rise[column] = max(float(np.mean(errors)) - float((base**2).mean()), 0.0)
    return rise


def determination(target: Matrix, guessed: Matrix, weights: Matrix) -> Matrix:
    """R² (draws,) of predictions, of the clips in each draw; NaN where a draw has no spread.

    Args:
        target: truth (clips,).
        guessed: prediction of each.
        weights: times that each clip is drawn (draws, clips).
    """
    total = weights.sum(1)
    mean = weights @ target / total
    spread = weights @ target**2 - total * mean**2
    left = weights @ (target - guessed) ** 2
    found: Matrix = np.where(spread > 1e-12, 1 - left / np.where(spread > 1e-12, spread, 1), np.nan)
    return found


def _path(code: Matrix, target: Matrix, alphas: Matrix) -> Matrix:
    """Weights (n, alphas)."""
    linear: Any = import_extra("sklearn.linear_model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", import_extra("sklearn.exceptions").ConvergenceWarning)
        found: Matrix = linear.lasso_path(code, target, alphas=alphas, max_iter=ITERATIONS, tol=TOLERANCE)[1]
    return found
