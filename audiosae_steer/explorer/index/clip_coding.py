"""One clip through an SAE: activations above 0, and how near the silent features came to firing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ops import reference
from ...ops.reference import SAEWeights
from .example_candidates import Candidates, empty
from .index_schema import BINS, CURVE_LEVELS, bin_of

FIXED = 1 << 16
"""Activations are summed as multiples of 1/65,536, so that the sum does not depend on the order."""


class Coding(NamedTuple):
    """A clip's activations, those above 0 in the order of (feature, frame), and its near misses."""

    frames: int
    """Frames of sound."""
    feature: NDArray[np.int32]
    frame: NDArray[np.int32]
    value: NDArray[np.float32]
    margin: NDArray[np.float32]
    """(F,) highest pre-activation less the threshold; −∞ of features that fire."""
    margin_at: NDArray[np.int32]
    """(F,) its frame."""
    pre: NDArray[np.float32]
    """(F, frames) pre-activations."""


def code(x: Tensor, w: SAEWeights) -> Coding:
    """Code a clip alone, so that the result does not depend on what else is coded.

    Args:
        x: residuals (frames, d_model) in float32, padding left out.
        w: the SAE, in float32.
    """
    with torch.no_grad():
        scaled = x[None] * reference.input_scale(x[None], w.norm, w.scale) - w.b_dec
        pre = scaled @ w.W_enc.T + w.b_enc
        f = reference.gate(pre, w.kind, w.k, w.threshold, w.gain, w.epsilon)[0]
        missing = (pre[0] - _bound(f, w)).T
        values, pre = f.T.contiguous(), pre[0].T.contiguous()
        fired = torch.nonzero(values > 0).numpy()
        margin, at = missing.max(1)
    feature, frame = fired[:, 0], fired[:, 1]
    lacks = margin.numpy().astype(np.float32).copy()
    lacks[feature] = -np.inf
    return Coding(
        len(x), feature.astype(np.int32), frame.astype(np.int32), values.numpy()[feature, frame].astype(np.float32),
        np.minimum(lacks, 0), at.numpy().astype(np.int32), pre.numpy(),
    )  # fmt: skip


def _bound(f: Tensor, w: SAEWeights) -> Tensor:
    """Value that a pre-activation has to exceed to fire: the threshold; of gates that rank, the least that fired."""
    if w.threshold is not None and w.kind in ("jumprelu", "batchtopk"):
        return w.threshold.clamp(min=0)
    if w.kind not in ("topk", "batchtopk"):
        return f.new_zeros(())
    least = torch.where(f > 0, f, torch.inf)
    least = least.amin(-1, keepdim=True) if w.kind == "topk" else least.amin()
    return torch.where(least.isinf(), 0.0, least)


class Tally(NamedTuple):
    """Counts of each feature, which add up exactly."""

    fired: NDArray[np.int64]
    """(F,) frames on which it fires."""
    clips: NDArray[np.int64]
    """(F,) clips on which it does."""
    total: NDArray[np.int64]
    """(F,) sum of its activations in multiples of 1 / `FIXED`."""
    counts: NDArray[np.int64]
    """(F, BINS) histogram of its activations."""

    @classmethod
    def none(cls, features: int) -> Tally:
        """Nothing counted."""
        zeros = np.zeros(features, np.int64)
        return cls(zeros, zeros.copy(), zeros.copy(), np.zeros((features, BINS), np.int64))

    @classmethod
    def of(cls, coding: Coding, features: int) -> Tally:
        """Counts of one clip."""
        fired = np.bincount(coding.feature, minlength=features)
        fixed = np.round(coding.value.astype(np.float64) * FIXED)
        # whole numbers below 2 ** 53 add up exactly in float64, too
        total = np.bincount(coding.feature, fixed, features).astype(np.int64)
        places = coding.feature.astype(np.int64) * BINS + bin_of(coding.value)
        counts = np.bincount(places, minlength=features * BINS).reshape(features, BINS)
        return cls(fired, (fired > 0).astype(np.int64), total, counts)

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))


class Peaks(NamedTuple):
    """Features that fire in a clip, ascending, and their highest activations."""

    frames: int
    features: NDArray[np.uint16]
    values: NDArray[np.float16]


def peaks_of(coding: Coding) -> tuple[Peaks, NDArray[np.int64], NDArray[np.float32]]:
    """Peaks of a clip, the first row of each of its features, and the peaks unrounded."""
    starts = np.flatnonzero(np.diff(coding.feature, prepend=-1))
    highest = np.maximum.reduceat(coding.value, starts) if len(starts) else np.zeros(0, np.float32)
    # the least that float16 holds, lest a feature that fires be taken for silent
    rounded = np.clip(highest, 2.0**-24, 65504).astype(np.float16)
    return Peaks(coding.frames, coding.feature[starts].astype(np.uint16), rounded), starts, highest


def firing_rows(coding: Coding, clip: int) -> Candidates:
    """A candidate for each feature that fires in a clip, of that key."""
    _, starts, highest = peaks_of(coding)
    if not len(starts):
        return empty()
    sizes = np.diff(starts, append=len(coding.value))
    group = np.repeat(np.arange(len(starts)), sizes)
    levels = np.round(coding.value / highest[group] * CURVE_LEVELS).astype(np.uint8)
    tops = np.flatnonzero(coding.value == highest[group])
    _, first = np.unique(group[tops], return_index=True)
    frames, ends = coding.frame.astype("<u2"), starts + sizes
    curves = _packed(frames, levels, starts, ends)
    key = np.full(len(starts), clip, np.uint64)
    return Candidates(coding.feature[starts], key, highest, coding.frame[tops[first]], highest, curves)


def near_rows(coding: Coding, clip: int, worst: NDArray[np.float32]) -> Candidates:
    """Candidates for near misses of a clip, of that key: features that are silent, and come as near as `worst` (F,)."""
    chosen = np.flatnonzero(np.isfinite(coding.margin) & (coding.margin >= worst))
    if not len(chosen) or not coding.frames:
        return empty()
    pre = np.maximum(coding.pre[chosen], 0)
    scale = pre.max(1)
    levels = np.round(pre / np.maximum(scale, 1e-30)[:, None] * CURVE_LEVELS).astype(np.uint8)
    row, frame = np.nonzero(levels)
    ends = np.searchsorted(row, np.arange(len(chosen)), "right")
    starts = np.concatenate([[0], ends[:-1]])
    curves = _packed(frame.astype("<u2"), levels[row, frame], starts, ends)
    key = np.full(len(chosen), clip, np.uint64)
    return Candidates(
        chosen.astype(np.int32), key, coding.margin[chosen], coding.margin_at[chosen], scale.astype(np.float32), curves
    )


def dense(curve: bytes, frames: int) -> NDArray[np.uint8]:
    """Levels (frames,) of a candidate's curve."""
    count = len(curve) // 3
    levels = np.zeros(frames, np.uint8)
    levels[np.frombuffer(curve, "<u2", count)] = np.frombuffer(curve, np.uint8, count, 2 * count)
    return levels


def _packed(
    frames: NDArray[np.uint16], levels: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.object_]:
    curves = np.empty(len(starts), object)
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        curves[i] = frames[start:end].tobytes() + levels[start:end].tobytes()
    return curves
