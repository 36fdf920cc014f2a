"""Clips of a card: those on which the feature is highest, and those on which it only nearly fires."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...ops.reference import input_scale
from ...sae.autoencoder import SAE
from ..frame.excerpts import Excerpts
from ..frame.residual_clips import Residuals
from .card_records import CardClip, CardSettings

Traces = Sequence[NDArray[np.float32]]


def clips_of(
    sae: SAE, residuals: Residuals, feature: int, activations: Traces, settings: CardSettings
) -> tuple[CardClip, ...]:
    """Top clips, one of a group, the highest first; then near misses, the nearest first.

    Args:
        sae: the SAE.
        residuals: clips of files, at a site whose frames have time.
        feature: the feature.
        activations: (frames,) of each clip.
        settings: numbers of clips, and length of a stretch.
    """
    excerpts, rate = residuals.excerpts, residuals.rate
    if excerpts is None or rate is None:
        return ()
    highest = np.array([float(own.max(initial=0)) for own in activations])
    found = [
        _stretch(clip, activations[clip], excerpts, rate, settings.seconds, (0.0, False))
        for clip in _one_of_each(highest, residuals.groups, settings.top_clips)
        if highest[clip] > 0
    ]
    silent = [clip for clip, value in enumerate(highest) if value <= 0 and len(activations[clip])]
    if silent and settings.near_misses:
        scores = {clip: before_gate(sae, residuals.read(clip), feature) for clip in silent}
        nearest = np.full(len(highest), -np.inf)
        nearest[silent] = [float(scores[clip].max()) for clip in silent]
        bound = _bound(sae, feature)
        found += [
            _stretch(clip, scores[clip], excerpts, rate, settings.seconds, (bound, True))
            for clip in _one_of_each(nearest, residuals.groups, settings.near_misses)
            if np.isfinite(nearest[clip])
        ]
    return tuple(found)


def before_gate(sae: SAE, x: torch.Tensor, feature: int) -> NDArray[np.float32]:
    """Score (frames,) of a feature before the gate."""
    w = sae.weights(torch.float32)
    with torch.no_grad():
        scaled = x * input_scale(x, w.norm, w.scale) - w.b_dec
        score: NDArray[np.float32] = (scaled @ w.W_enc[feature] + w.b_enc[feature]).numpy()
    return score


def _bound(sae: SAE, feature: int) -> float:
    """Score above which a feature fires; of a gate that ranks features, 0, from which on it can."""
    if sae.threshold is None:
        return 0.0
    return max(float(sae.threshold if sae.threshold.dim() == 0 else sae.threshold[feature]), 0.0)


def _one_of_each(values: NDArray[np.float64], groups: Sequence[str], most: int) -> list[int]:
    """Clips of the highest values, one of a group, until there are enough; then further ones of the same groups."""
    order = [int(clip) for clip in np.argsort(-values, kind="stable")]
    first: dict[str, int] = {}
    for clip in order:
        first.setdefault(groups[clip], clip)
    chosen = list(first.values())[:most]
    return sorted(chosen, key=lambda clip: (-values[clip], clip))


def _stretch(
    clip: int, trace: NDArray[np.float32], excerpts: Excerpts, rate: float, seconds: float, kind: tuple[float, bool]
) -> CardClip:
    """The stretch around the highest value of a trace."""
    item, (bound, near) = excerpts.items[clip], kind
    middle = (int(trace.argmax()) + 0.5) / rate
    length = min(seconds, item.seconds)
    start = min(max(middle - length / 2, 0.0), max(item.seconds - length, 0.0))
    first = round(start * rate)
    own = trace[first : first + max(round(length * rate), 1)]
    label = "" if item.label is None else f" (label {item.label})"
    peak = f"{float(trace.max()):.3g} at {item.start + middle:.2f} s of the file{label}"
    says = (
        f"Near miss: before the gate {peak}; it would fire above {bound:.3g}" if near else f"Highest activation {peak}"
    )
    return CardClip(
        clip=clip, name=item.name, start=round(first / rate, 3), seconds=round(length, 3), says=says,
        trace=tuple(round(float(value), 5) for value in own), rate=rate, fires_from=round(bound, 6), near_miss=near,
    )  # fmt: skip
