"""Fits of a property from activations: multinomial logistic regression and ridge, penalties chosen by grouped folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra
from .property_bins import Kinds
from .property_records import ClassWeights

Matrix = NDArray[np.float64]
FOLDS = 3
FLOOR = 1e-3
"""Least spread of a feature, as a share of the largest: rounding errors are not blown up to features."""
ITERATIONS = 150
"""Of the solver."""
RIDGE = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""Penalties of ridge regression, on standardised features."""


class Fitted(NamedTuple):
    """A map of one property, in activations as they are."""

    classes: Kinds
    """(K,) classes that it knows."""
    weights: Matrix
    """(K, features)."""
    bias: Matrix
    """(K,)."""
    slopes: Matrix
    """(features,)."""
    intercept: float
    spread: Matrix
    """(features,)."""
    pattern: Matrix
    """(features,)."""
    C: float

    def told(self, f: Matrix) -> Kinds:
        """Class (frames,) of activations (frames, features)."""
        found: Kinds = self.classes[(f @ self.weights.T + self.bias).argmax(1)]
        return found

    def value(self, f: Matrix) -> Matrix:
        """Value (frames,) on the bins' axis."""
        found: Matrix = f @ self.slopes + self.intercept
        return found

    def kept(self) -> ClassWeights:
        """The numbers, rounded, as a result holds them."""

        def plain(row: Matrix) -> tuple[float, ...]:
            return tuple(float(f"{each:.7g}") for each in row)

        rows = tuple(plain(row) for row in self.weights)
        return ClassWeights(
            tuple(int(each) for each in self.classes), rows, plain(self.bias), plain(self.slopes),
            float(f"{self.intercept:.7g}"), plain(self.spread),
            plain(self.pattern),
        )  # fmt: skip


def fit_property(
    f: Matrix, kinds: Kinds, values: Matrix, groups: Sequence[str], penalties: Sequence[float], seed: int
) -> Fitted:
    """Fit both regressions on frames that have a class.

    Args:
        f: activations (frames, features).
        kinds: class (frames,), from 0 on.
        values: value (frames,); NaN of a class without one.
        groups: group of each frame.
        penalties: inverse strengths of the L2 penalty.
        seed: seed of the solver.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    mean, spread = f.mean(0), f.std(0)
    spread = np.maximum(spread, FLOOR * (spread.max(initial=0) or 1.0))
    z = ((f - mean) / spread).astype(np.float32)
    C = _chosen(z, kinds, groups, sorted(penalties), seed)
    classes, coefficients, bias = _logistic(z, kinds, C, seed)
    raw = coefficients / spread
    slopes, intercept = _ridge(z, values, groups)
    known = ~np.isnan(values)
    centred = values[known] - values[known].mean() if known.any() else values[known]
    variance = float(centred @ centred)
    pattern = centred @ (f[known] - f[known].mean(0)) / variance if variance > 0 else np.zeros(f.shape[1])
    offset = float(intercept - (slopes / spread) @ mean)
    return Fitted(classes, raw, bias - raw @ mean, slopes / spread, offset, f.std(0), pattern, C)


def _logistic(z: NDArray[np.float32], kinds: Kinds, C: float, seed: int) -> tuple[Kinds, Matrix, Matrix]:
    """Classes (K,), weights (K, features) and bias (K,), centred over the classes, since softmax does not see a common
    shift."""
    classes = np.unique(kinds)
    if len(classes) < 2:
        return classes, np.zeros((1, z.shape[1])), np.zeros(1)
    model: Any = import_extra("sklearn.linear_model").LogisticRegression(C=C, max_iter=ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", import_extra("sklearn.exceptions").ConvergenceWarning)
        model.fit(z, kinds)
    weights, bias = np.asarray(model.coef_, float), np.asarray(model.intercept_, float)
    if len(classes) == 2:
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return classes, weights - weights.mean(0), bias - bias.mean()


def _chosen(z: NDArray[np.float32], kinds: Kinds, groups: Sequence[str], penalties: list[float], seed: int) -> float:
    """Penalty of the highest accuracy on held-out groups; the strongest wins a tie."""
    count = min(FOLDS, len(set(groups)))
    if len(penalties) == 1 or count < 2:
        return penalties[0] if len(penalties) == 1 else penalties[len(penalties) // 2]
    totals = np.zeros(len(penalties))
    folds = import_extra("sklearn.model_selection").GroupKFold(count)
    for train, test in folds.split(z, kinds, list(groups)):
        for place, C in enumerate(penalties):
            classes, weights, bias = _logistic(z[train], kinds[train], C, seed)
            totals[place] += (classes[(z[test] @ weights.T + bias).argmax(1)] == kinds[test]).mean()
    return penalties[int(np.argmax(np.round(totals, 9)))]


def _ridge(z: NDArray[np.float32], values: Matrix, groups: Sequence[str]) -> tuple[Matrix, float]:
    """Slopes (features,) on standardised features, and the value at their mean."""
    known = ~np.isnan(values)
    if known.sum() < 2:
        return np.zeros(z.shape[1]), 0.0
    linear = import_extra("sklearn.linear_model")
    own = [group for group, each in zip(groups, known, strict=True) if each]
    count = min(FOLDS, len(set(own)))
    x, y = z[known].astype(np.float64), values[known]
    if count < 2:
        model: Any = linear.Ridge(alpha=RIDGE[len(RIDGE) // 2]).fit(x, y)
    else:
        folds = list(import_extra("sklearn.model_selection").GroupKFold(count).split(x, y, own))
        errors = np.zeros(len(RIDGE))
        for train, test in folds:
            left = x[train].mean(0)
            # one decomposition serves all penalties
            values_, vectors = np.linalg.eigh((x[train] - left).T @ (x[train] - left))
            onto = vectors.T @ ((x[train] - left).T @ (y[train] - y[train].mean()))
            for place, alpha in enumerate(RIDGE):
                slopes = vectors @ (onto / (np.maximum(values_, 0) + alpha))
                errors[place] += ((x[test] - left) @ slopes + y[train].mean() - y[test]) @ (
                    (x[test] - left) @ slopes + y[train].mean() - y[test]
                )
        model = linear.Ridge(alpha=RIDGE[int(np.argmin(errors))]).fit(x, y)
    return np.asarray(model.coef_, float), float(model.intercept_)
