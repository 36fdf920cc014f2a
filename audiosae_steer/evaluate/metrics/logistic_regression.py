"""Logistic regressions of scikit-learn's that tell two kinds of clips, or frames, apart: one, or a path of L1s."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]


class LogisticFit(NamedTuple):
    """One fitted regression."""

    C: float
    """Inverse strength of its penalty."""
    weights: Matrix
    """(F,): above 0 where a feature indicates the true label."""
    bias: float
    """Log odds where all features are 0."""

    def log_odds(self, features: Matrix) -> Matrix:
        """Log odds (clips,) of the true label, of features (clips, F)."""
        found: Matrix = features @ self.weights + self.bias
        return found


def fit_logistic(
    features: Matrix, labels: Flags, C: float = 1.0, *, l1: bool = False, seed: int = 0, purpose: str = "ranking"
) -> LogisticFit:
    """Fit one regression; both kinds weigh the same, however many clips each has.

    Args:
        features: (clips, F), of comparable spread.
        labels: (clips,).
        C: inverse strength of the penalty.
        l1: an L1 penalty (by liblinear, which penalises the bias too) in place of an L2 (by L-BFGS).
        seed: of the solver.
        purpose: what the fit is for, to say what is missing without scikit-learn.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs scikit-learn; run: pip install 'audiosae-steer[train]'") from error
    model: Any = LogisticRegression(
        solver="liblinear" if l1 else "lbfgs",
        l1_ratio=float(l1),
        C=C,
        class_weight="balanced",
        random_state=seed,
        max_iter=500,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return LogisticFit(C, model.coef_[0], float(model.intercept_[0]))


def l1_path(
    features: Matrix, labels: Flags, penalties: Iterable[float], *, seed: int = 0, purpose: str = "ranking"
) -> Iterator[LogisticFit]:
    """Fits with an L1 penalty, one for each C, made when it is asked for; arguments as `fit_logistic` takes them."""
    for C in penalties:
        yield fit_logistic(features, labels, C, l1=True, seed=seed, purpose=purpose)
