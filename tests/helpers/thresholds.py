"""Frames whose features are not so near a threshold that rounding decides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audiosae_steer.ops import reference


def far_from_thresholds(x: Tensor, sae: Any, noise: float = 1e-4) -> Tensor:
    """(clips,): whether no feature is so near its threshold, or its rank's, that rounding decides if it fires."""
    w = sae.weights(torch.float64)
    pre = (x.double() * reference.input_scale(x.double(), w.norm, w.scale) - w.b_dec) @ w.W_enc.T + w.b_enc
    fires = reference.gate(pre, w.kind, w.k, w.threshold, w.gain, w.epsilon) > 0
    sure = torch.ones_like(fires)
    for i in range(pre.shape[-1]):  # twice: all others may move the other way
        for shift in (-2 * noise, 2 * noise):
            moved = pre.clone()
            moved[..., i] += shift
            now = reference.gate(moved, w.kind, w.k, w.threshold, w.gain, w.epsilon)[..., i] > 0
            sure[..., i] &= now == fires[..., i]
    return sure.all(-1).all(-1)
