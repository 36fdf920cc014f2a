"""Fit a clip gate: a sparse logistic regression on pooled SAE features that tells two kinds of clips apart."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clip_gate import ClipGate, Pool
from ..errors import GateError, MissingExtraError

Matrix = NDArray[np.float64]


class Calibration(NamedTuple):
    """How a gate does on clips it was not fitted on."""

    auc: float
    """Area under the ROC curve."""
    open_absent: float
    """Share of the clips without speech for which it opens: those that are edited."""
    open_present: float
    """Share of the clips with speech for which it opens: edited though they should not be."""
    clips: tuple[int, int]
    """Clips without and with speech."""


def fit_gate(
    absent: Matrix, present: Matrix, pool: Pool, *, max_features: int = 48, seed: int = 0
) -> tuple[ClipGate, Matrix]:
    """A gate that opens for `absent`, with its threshold still at 0, and its weights over all features.

    Args:
        absent: pooled features (clips, n_features) of clips for which the edits should apply.
        present: the same of clips to leave alone.
        pool: how they were pooled.
        max_features: most features it may read; the L1 is raised until so few are left.
        seed: of the solver.

    Raises:
        GateError: a kind has fewer than two clips, a number is not finite, or no feature tells them apart.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(
            "fitting a gate needs scikit-learn; run: pip install 'audiosae-steer[train]'"
        ) from error
    if len(absent) < 2 or len(present) < 2:
        raise GateError(
            f"a gate needs clips of both kinds; there are {len(absent)} without and {len(present)} with speech"
        )
    features = np.concatenate([absent, present])
    if not np.isfinite(features).all():
        raise GateError("the pooled features hold NaN or infinite numbers; check the audio and the SAE")
    labels = np.array([1] * len(absent) + [0] * len(present))
    spread = features.std(0)
    scaled = features / np.where(spread > 0, spread, 1.0)
    weights, bias = np.zeros(features.shape[1]), 0.0
    for strength in np.geomspace(1.0, 1e-4, 25):
        model: Any = LogisticRegression(
            solver="liblinear", l1_ratio=1.0, C=strength, class_weight="balanced", random_state=seed, max_iter=500
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, labels)
        weights, bias = model.coef_[0] / np.where(spread > 0, spread, 1.0), float(model.intercept_[0])
        if 0 < np.count_nonzero(weights) <= max_features:
            break
    chosen = np.flatnonzero(weights)
    if not len(chosen) or len(chosen) > max_features:
        raise GateError(
            "no small set of features tells the two kinds of clips apart; give more, or more different, clips"
        )
    gate = ClipGate(tuple(chosen.tolist()), tuple(weights[chosen].tolist()), bias, 0.0, pool)
    return gate, weights


def set_threshold(gate: ClipGate, absent: Matrix, present: Matrix, *, margin: float = 0.5) -> ClipGate:
    """The gate with a threshold above every speech clip given.

    It lies `margin` of the way from the highest score of `present` to the median score of `absent`, so that speech
    unlike any seen has room. Both are pooled features (clips, n_features) of clips the gate was not fitted on.
    """
    high, low = score(gate, present).max(), float(np.median(score(gate, absent)))
    threshold = float(high + margin * max(low - high, 0.0))
    placed = ClipGate(gate.features, gate.weights, gate.bias, threshold, gate.pool)
    found = assess(placed, absent, present)
    calibration = {**found._asdict(), "clips": list(found.clips), "margin": margin}
    return ClipGate(gate.features, gate.weights, gate.bias, threshold, gate.pool, calibration)


def assess(gate: ClipGate, absent: Matrix, present: Matrix) -> Calibration:
    """How the gate does on pooled features (clips, n_features)."""
    from sklearn.metrics import roc_auc_score

    high, low = score(gate, absent), score(gate, present)
    labels = np.array([1] * len(high) + [0] * len(low))
    return Calibration(
        float(roc_auc_score(labels, np.concatenate([high, low]))),
        float((high > gate.threshold).mean()),
        float((low > gate.threshold).mean()),
        (len(high), len(low)),
    )


def score(gate: ClipGate, pooled: Matrix) -> Matrix:
    """Scores (clips,) of pooled features (clips, n_features)."""
    result: Matrix = pooled[:, list(gate.features)] @ np.asarray(gate.weights) + gate.bias
    return result
