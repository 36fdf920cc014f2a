"""Sparse logistic regressions on SAE features as gates: fitting, threshold and figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ...errors import GateError
from ...evaluate.metrics.logistic_regression import Matrix, l1_path
from ...evaluate.metrics.rates import share
from ...steering.gates import ClipGate, FrameGate, Pool

PENALTIES = np.geomspace(1.0, 1e-4, 25)
"""Inverse strengths of the L1 penalty that are tried, the weakest penalty first."""
AnyGate = TypeVar("AnyGate", ClipGate, FrameGate)


class Calibration(NamedTuple):
    """Figures of a gate on clips, or of a frame gate on frames, that it was not fitted on."""

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
    """Gate that opens for `absent`, with its threshold still at 0, and its weights over all features.

    Args:
        absent: pooled features (clips, n_features) of clips for which the edits should apply.
        present: the same of clips to leave alone.
        pool: pooling of these features.
        max_features: most features it may read; the L1 is raised until so few are left.
        seed: of the solver.

    Raises:
        GateError: a kind has fewer than two clips, a number is not finite, or no feature tells them apart.
        MissingExtraError: scikit-learn is not installed.
    """
    fit = _sparse(absent, present, "clips", max_features, seed)
    return ClipGate(fit.features, fit.weights, fit.bias, 0.0, pool), fit.dense


def fit_frame_gate(
    absent: Matrix, present: Matrix, reach: float = 0.5, *, max_features: int = 48, seed: int = 0
) -> tuple[FrameGate, Matrix]:
    """Frame gate that opens for `absent`, with its threshold still at 0, and its weights over all features.

    Args:
        absent: features (frames, n_features), each at its largest within reach, as `frame_features` gives them, of
            frames for which the edits should apply. The padding of a window after the end of its clip belongs here.
        present: the same of frames to leave alone: those from the first word of a clip to the last.
        reach: seconds that a frame looks either way; those that the features were made with.
        max_features: most features it may read; the L1 is raised until so few are left.
        seed: of the solver.

    Raises:
        GateError: a kind has fewer than two frames, a number is not finite, or no feature tells them apart.
        MissingExtraError: scikit-learn is not installed.
    """
    fit = _sparse(absent, present, "frames", max_features, seed)
    return FrameGate(fit.features, fit.weights, fit.bias, 0.0, reach), fit.dense


class _SparseFit(NamedTuple):
    features: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    dense: Matrix
    """(n_features,) weights over all features, 0 but for these."""


def _sparse(absent: Matrix, present: Matrix, what: str, max_features: int, seed: int) -> _SparseFit:
    """The least penalised regression that reads at most `max_features` features."""
    if len(absent) < 2 or len(present) < 2:
        raise GateError(
            f"a gate needs {what} of both kinds; there are {len(absent)} without and {len(present)} with speech"
        )
    features = np.concatenate([absent, present])
    if not np.isfinite(features).all():
        raise GateError("the pooled features hold NaN or infinite numbers; check the audio and the SAE")
    labels = np.arange(len(features)) < len(absent)
    spread = features.std(0)
    spread = np.where(spread > 0, spread, 1.0)  # the mean stays: a gate reads features unchanged, with one bias
    for fit in l1_path(features / spread, labels, PENALTIES.tolist(), seed=seed, purpose="fitting a gate"):
        if 0 < np.count_nonzero(fit.weights) <= max_features:
            dense = fit.weights / spread
            chosen = np.flatnonzero(dense)
            return _SparseFit(tuple(chosen.tolist()), tuple(dense[chosen].tolist()), fit.bias, dense)
    raise GateError(
        f"no small set of features tells the two kinds of {what} apart; give more, or more different, clips"
    )


def set_threshold(
    gate: AnyGate, absent: Matrix, present: Matrix, *, margin: float = 0.5, budget: float = 0.0
) -> AnyGate:
    """The gate with a threshold above every speech clip, or frame, given, or above all but a share `budget` of them.

    It lies `margin` of the way from the highest score of `present`, past the budget, to the median score of `absent`,
    so that speech unlike any seen has room. Both are features (clips or frames, n_features) that the gate was not
    fitted on.

    Raises:
        GateError: a kind is empty, or the budget or the margin is not a share.
    """
    if not (0 <= budget < 1 and 0 <= margin <= 1):
        raise GateError(f"budget is {budget} and margin {margin}; expected shares, from 0 to 1")
    if not len(absent) or not len(present):
        raise GateError("a threshold is placed between two kinds; give features of both")
    ranked = np.sort(score(gate, present))[::-1]
    high, low = ranked[int(budget * len(ranked))], float(np.median(score(gate, absent)))
    placed = replace(gate, threshold=float(high + margin * max(low - high, 0.0)))
    found = {key: _rounded(value) for key, value in assess(placed, absent, present)._asdict().items()}
    return replace(placed, calibration={**found, "margin": margin, **({"budget": budget} if budget else {})})


def assess(gate: AnyGate, absent: Matrix, present: Matrix) -> Calibration:
    """Figures of the gate on features (clips or frames, n_features)."""
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


def _rounded(value: Any) -> Any:
    """Intervals and counts as lists, no finer than they are known; other values unchanged."""
    return [round(number, 5) for number in value] if isinstance(value, tuple) else value
