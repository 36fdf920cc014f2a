"""Fit a gate: a sparse logistic regression on pooled SAE features that tells two kinds of clips, or frames, apart."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import GateError, MissingExtraError
from ...evaluate.metrics.rates import share
from ...steering.gates import ClipGate, FrameGate, Pool

Matrix = NDArray[np.float64]
AnyGate = TypeVar("AnyGate", ClipGate, FrameGate)


class Calibration(NamedTuple):
    """How a gate does on clips, or a frame gate on frames, that it was not fitted on."""

    auc: float
    """Area under the ROC curve."""
    open_absent: float
    """Share of the clips without speech for which it opens: those that are edited."""
    open_absent_95: tuple[float, float]
    """Its 95 % interval (Wilson). Frames of one clip are alike, so that of many frames a clip it is too narrow."""
    open_present: float
    """Share of the clips with speech for which it opens: edited though they should not be."""
    open_present_95: tuple[float, float]
    """Its 95 % interval (Wilson)."""
    clips: tuple[int, int]
    """Clips, or frames, without and with speech."""


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
    weights, bias = _sparse(absent, present, "clips", max_features, seed)
    chosen = np.flatnonzero(weights)
    return ClipGate(tuple(chosen.tolist()), tuple(weights[chosen].tolist()), bias, 0.0, pool), weights


def fit_frame_gate(
    absent: Matrix, present: Matrix, reach: float = 0.5, *, max_features: int = 48, seed: int = 0
) -> tuple[FrameGate, Matrix]:
    """A frame gate that opens for `absent`, with its threshold still at 0, and its weights over all features.

    Args:
        absent: features (frames, n_features), each at its largest within reach, as `frame_features` gives them, of
            frames for which the edits should apply. What fills a window up after its clip has ended belongs here.
        present: the same of frames to leave alone: those from the first word of a clip to the last.
        reach: how far a frame looks either way, in seconds; the one that the features were made with.
        max_features: most features it may read; the L1 is raised until so few are left.
        seed: of the solver.

    Raises:
        GateError: a kind has fewer than two frames, a number is not finite, or no feature tells them apart.
        MissingExtraError: scikit-learn is not installed.
    """
    weights, bias = _sparse(absent, present, "frames", max_features, seed)
    chosen = np.flatnonzero(weights)
    return FrameGate(tuple(chosen.tolist()), tuple(weights[chosen].tolist()), bias, 0.0, reach), weights


def _sparse(absent: Matrix, present: Matrix, what: str, max_features: int, seed: int) -> tuple[Matrix, float]:
    """Weights over all features, at most `max_features` of them not 0, and the bias."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(
            "fitting a gate needs scikit-learn; run: pip install 'audiosae-steer[train]'"
        ) from error
    if len(absent) < 2 or len(present) < 2:
        raise GateError(
            f"a gate needs {what} of both kinds; there are {len(absent)} without and {len(present)} with speech"
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
    if not 0 < np.count_nonzero(weights) <= max_features:
        raise GateError(
            f"no small set of features tells the two kinds of {what} apart; give more, or more different, clips"
        )
    return weights, bias


def set_threshold(
    gate: AnyGate, absent: Matrix, present: Matrix, *, margin: float = 0.5, budget: float = 0.0
) -> AnyGate:
    """The gate with a threshold above every speech clip, or frame, given, or above all but a share `budget` of them.

    It lies `margin` of the way from the highest score of `present`, past the budget, to the median score of `absent`,
    so that speech unlike any seen has room. Both are features (clips or frames, n_features) that the gate was not
    fitted on.

    Raises:
        GateError: a kind is empty, or the budget or the margin is no share.
    """
    if not (0 <= budget < 1 and 0 <= margin <= 1):
        raise GateError(f"budget is {budget} and margin {margin}; expected shares, from 0 to 1")
    if not len(absent) or not len(present):
        raise GateError("a threshold is placed between two kinds; give features of both")
    ranked = np.sort(score(gate, present))[::-1]
    high, low = ranked[int(budget * len(ranked))], float(np.median(score(gate, absent)))
    placed = replace(gate, threshold=float(high + margin * max(low - high, 0.0)))
    found = {key: _plain(value) for key, value in assess(placed, absent, present)._asdict().items()}
    return replace(placed, calibration={**found, "margin": margin, **({"budget": budget} if budget else {})})


def assess(gate: AnyGate, absent: Matrix, present: Matrix) -> Calibration:
    """How the gate does on features (clips or frames, n_features)."""
    from sklearn.metrics import roc_auc_score

    high, low = score(gate, absent), score(gate, present)
    labels = np.array([1] * len(high) + [0] * len(low))
    absent_open, present_open = (share((scores > gate.threshold).tolist()) for scores in (high, low))
    return Calibration(
        float(roc_auc_score(labels, np.concatenate([high, low]))),
        absent_open.value,
        (absent_open.low, absent_open.high),
        present_open.value,
        (present_open.low, present_open.high),
        (len(high), len(low)),
    )


def score(gate: AnyGate, pooled: Matrix) -> Matrix:
    """Scores (clips or frames,) of features (clips or frames, n_features)."""
    result: Matrix = pooled[:, list(gate.features)] @ np.asarray(gate.weights) + gate.bias
    return result


def _plain(value: Any) -> Any:
    """As JSON has it, and intervals no finer than they are known."""
    return [round(number, 5) for number in value] if isinstance(value, tuple) else value
