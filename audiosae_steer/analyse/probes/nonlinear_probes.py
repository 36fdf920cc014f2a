"""Nonlinear probes of scikit-learn's, which try again where a linear one fails."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra

Matrix = NDArray[np.float64]
NONLINEAR = ("rbf", "boosting")
"""Support vectors with a Gaussian kernel, and gradient-boosted trees."""


def nonlinear_scores(name: str, fit: Matrix, kinds: Any, held: Matrix, seed: int = 0) -> Matrix:
    """Scores (held-out clips,), higher where class 1 of two is more likely.

    Args:
        name: of `NONLINEAR`.
        fit: standardised features (clips, F).
        kinds: their classes, 0 or 1.
        held: features of the clips to score.
        seed: seed of the fit.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if name == "rbf":
        model: Any = import_extra("sklearn.svm").SVC(class_weight="balanced")
    else:
        ensemble = import_extra("sklearn.ensemble")
        model = ensemble.HistGradientBoostingClassifier(
            max_iter=60, early_stopping=False, class_weight="balanced", random_state=seed
        )
    model.fit(fit, kinds)
    found: Matrix = np.asarray(model.decision_function(held), np.float64)
    return found
