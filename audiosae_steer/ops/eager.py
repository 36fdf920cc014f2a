"""The fast forms in plain PyTorch: only the edited rows are computed, and x is read and written once each.

They are differentiable in x and in every amount, trace without a graph break, and never ask the device for a number.
Shapes: x (clips, frames, d); E edited features; S stages, a stage being the edits that share one window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import reference

BLOCK = 256  # frames; 256 x 6144 pre-activations in float32 are 6 MB, about what a core's cache holds


class Rows(NamedTuple):
    """The edited rows of an SAE, with its input normalisation folded in where it is one number."""

    W_enc: Tensor
    """(E, d)."""
    bias: Tensor
    """(E,): b_enc − W_enc·b_dec."""
    threshold: Tensor
    """(E,): a feature fires above it."""
    W_dec: Tensor
    """(E, d)."""
    unit_norm: float | None
    """scale of a per-frame normalisation, or None."""


class Maps(NamedTuple):
    """What becomes of the activations: clamped affine maps, one per clip, stage and edited feature."""

    firing: Tensor
    """(clips or 1, S, 4, E): a, b, low, high where the SAE's own activation is above zero."""
    silent: Tensor | None
    """The same where it is zero; None if there is no difference."""
    on: Tensor | None
    """(clips or 1, S, frames, 1): where each stage applies; None: everywhere."""


def add(x: Tensor, vector: Tensor) -> Tensor:
    """x + vector, rounded once to the dtype of x. `vector` broadcasts to x."""
    return (x + vector).to(x.dtype)


def activations(x: Tensor, rows: Rows) -> Tensor:
    """Activations (clips, frames, E) of the edited features alone; needs a gate of their own."""
    read = x if rows.unit_norm is None else x * reference.input_scale(x, "unit_norm", rows.unit_norm)
    pre = torch.addmm(rows.bias, read.reshape(-1, x.shape[-1]), rows.W_enc.T).reshape(*x.shape[:-1], len(rows.bias))
    return torch.where(pre > rows.threshold, pre, torch.zeros((), dtype=pre.dtype, device=pre.device))


def selected(x: Tensor, w: reference.Weights, index: Tensor) -> Tensor:
    """Activations (clips, frames, E) of the features `index` under a topk or batchtopk selection among all F."""
    step, axis = (BLOCK, 1) if w.kind == "topk" else (1, 0)  # topk selects per frame, batchtopk per clip
    starts = range(0, x.shape[axis], step)
    blocks = [x.narrow(axis, start, min(step, x.shape[axis] - start)) for start in starts]
    kept = [reference.encode(block, w)[..., index] for block in blocks]
    return torch.cat(kept, dim=axis) if kept else x.new_zeros(*x.shape[:-1], len(index))


def edit(f: Tensor, maps: Maps) -> Tensor:
    """f' of f, both (clips, frames, E), stage after stage."""
    g = f
    for stage in range(maps.firing.shape[1]):
        changed = _affine(g, maps.firing[:, stage])
        if maps.silent is not None:
            changed = torch.where(f > 0, changed, _affine(g, maps.silent[:, stage]))
        g = changed if maps.on is None else torch.where(maps.on[:, stage], changed, g)
    return g


def write(x: Tensor, change: Tensor, rows: Rows) -> Tensor:
    """x + change·W_dec, the change being (clips, frames, E) in feature space."""
    if rows.unit_norm is not None:
        change = change / reference.input_scale(x, "unit_norm", rows.unit_norm)
    flat = x.reshape(-1, x.shape[-1])
    return torch.addmm(flat, change.reshape(len(flat), len(rows.bias)), rows.W_dec).reshape(x.shape)


def _affine(g: Tensor, map_: Tensor) -> Tensor:
    a, b, low, high = map_[:, :, None, :].unbind(1)
    return torch.minimum(torch.maximum(a * g + b, low), high)
