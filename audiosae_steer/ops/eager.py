"""The fast forms in plain PyTorch: only the edited rows are computed, and x is read and written once each.

They are differentiable in x and in every amount, trace without a graph break, and never ask the device for a number.
Shapes: x (clips, frames, d); E edited features; S stages, a stage being the edits that share one window.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .joint import Joint


class Rows(NamedTuple):
    """The edited rows of an SAE, with its input normalisation folded in where it is one number.

    W_enc and W_dec may be of half precision where x is: products take them so, and are summed wide.
    """

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
    """Clamped affine maps of activations, one per clip, stage and edited feature."""

    firing: Tensor
    """(clips or 1, S, 4, E): a, b, low, high where the SAE's own activation is above zero."""
    silent: Tensor | None
    """The same where it is zero; None if there is no difference."""
    on: Tensor | None
    """(clips or 1, S, frames, 1): where each stage applies; None: everywhere."""
    joints: tuple[Joint | None, ...] = ()
    """(S,) rule of each stage that changes its features together, in the place of its map; empty: no stage does."""


class CompiledEdits(NamedTuple):
    """A plan's edits as tensors, for one or several choices of them."""

    firing: Tensor
    """(choices, S, 4, E), as in `Maps`."""
    silent: Tensor | None
    """(choices, S, 4, E)."""
    vectors: Tensor | None
    """(choices, S, d): added to x where the stage applies; None: nothing is."""
    start: Tensor | None
    """(choices, S): seconds of input audio from which the stage applies; None: always and everywhere."""
    end: Tensor | None
    """(choices, S): seconds until which it does."""
    joints: tuple[Joint | None, ...] = ()
    """As in `Maps`; with one choice only."""


class Where(NamedTuple):
    """The frames of x that are steered, and the choice of edits of each clip."""

    live: Tensor | None = None
    """(clips,) or (clips, frames) bool; None: all."""
    choice: Tensor | None = None
    """(clips,) long; None: the first."""
    offset: Tensor | None = None
    """() or (clips,) seconds between the start of the input audio and the first frame; None: 0."""
    rate: float = 1.0
    """Frames per second, where edits have windows."""
    times: Tensor | None = None
    """(frames,) seconds of each frame after `offset`, minus infinity: at none; None: (i + 0.5) / rate."""


def pick(table: Tensor, choice: Tensor | None) -> Tensor:
    """The entries of a table (choices, ...) that the clips have chosen: (clips, ...), or (1, ...) without a choice."""
    return table[:1] if choice is None else table[choice]


def applies(x: Tensor, start: Tensor | None, end: Tensor | None, where: Where) -> Tensor | None:
    """The frames of x on which each stage applies: (clips or 1, S, frames, 1) bool; None: all."""
    if start is None or end is None:
        return None
    # a frame belongs to the window that holds its centre
    times = where.times
    if times is None:
        times = (torch.arange(x.shape[1], device=x.device, dtype=start.dtype) + 0.5) / where.rate
    if where.offset is not None:  # (1 or clips, frames)
        times = times + where.offset.reshape(-1, 1)
    times = (times if times.dim() == 2 else times[None])[:, None, :, None]
    first, last = pick(start, where.choice), pick(end, where.choice)
    return (times >= first[..., None, None]) & (times < last[..., None, None])


def by_clip(strength: Tensor) -> Tensor:
    """A strength () unchanged, or of (clips,) as (clips, 1, 1), to broadcast to (clips, frames, d)."""
    return strength if strength.dim() == 0 else strength[:, None, None]


def changes(strength: Tensor, on: Tensor | None, live: Tensor | None) -> Tensor:
    """The frames that are steered at all, bool, broadcasting to (clips, frames, 1): the others keep their bits.

    `strength` is () or (clips,).
    """
    found = by_clip(strength) != 0
    if live is not None:
        found = found & (live[:, None, None] if live.dim() == 1 else live[:, :, None])
    return found if on is None else found & on.any(1)


def add(x: Tensor, vector: Tensor) -> Tensor:
    """x + vector, rounded once to the dtype of x. `vector` broadcasts to x."""
    return (x + vector).to(x.dtype)


def activations(x: Tensor, rows: Rows) -> Tensor:
    """Activations (clips, frames, E) of the edited features alone; needs a gate of their own."""
    wide = rows.bias.dtype
    if rows.unit_norm is None and x.dtype == rows.W_enc.dtype != wide:
        # what the bias loses by rounding is given back after the sum, which cancels most of it
        rounded = rows.bias.to(x.dtype)
        pre = torch.addmm(rounded, x.reshape(-1, x.shape[-1]), rows.W_enc.T).to(wide) + (rows.bias - rounded)
    else:
        read = x.to(wide)
        if rows.unit_norm is not None:
            read = read * reference.input_scale(read, "unit_norm", rows.unit_norm)
        pre = torch.addmm(rows.bias, read.reshape(-1, x.shape[-1]), rows.W_enc.to(wide).T)
    pre = pre.reshape(*x.shape[:-1], len(rows.bias))
    # written so that NaN stays NaN, as in the reference
    return torch.where(pre <= rows.threshold, 0.0, pre)


def edit(f: Tensor, maps: Maps) -> Tensor:
    """f' of f, both (clips, frames, E), stage after stage."""
    g = f
    for stage in range(maps.firing.shape[1]):
        joint = maps.joints[stage] if maps.joints else None
        changed = _affine(g, maps.firing[:, stage]) if joint is None else joint(g)
        if joint is None and maps.silent is not None:
            changed = torch.where(f > 0, changed, _affine(g, maps.silent[:, stage]))
        g = changed if maps.on is None else torch.where(maps.on[:, stage], changed, g)
    return g


def slope(f: Tensor, firing: Tensor, on: Tensor | None) -> Tensor:
    """df'/df (clips, frames, E) where a feature fires; `firing` as in `Maps`."""
    g, found = f, torch.ones_like(f)
    for stage in range(firing.shape[1]):
        a, b, low, high = firing[:, stage, :, None, :].unbind(1)
        moved = a * g + b
        step = torch.where((moved > low) & (moved < high), a, torch.zeros_like(a))
        changed = torch.minimum(torch.maximum(moved, low), high)
        if on is not None:
            step, changed = torch.where(on[:, stage], step, 1.0), torch.where(on[:, stage], changed, g)
        g, found = changed, found * step
    return found


def write(x: Tensor, change: Tensor, rows: Rows) -> Tensor:
    """x + change·W_dec in the dtype of x, the change being (clips, frames, E) in feature space."""
    if rows.unit_norm is not None:
        change = change / reference.input_scale(x.to(rows.bias.dtype), "unit_norm", rows.unit_norm)
    flat = x.reshape(-1, x.shape[-1])
    change = change.reshape(len(flat), len(rows.bias)).to(x.dtype)
    return torch.addmm(flat, change, rows.W_dec.to(x.dtype)).reshape(x.shape)


def _affine(g: Tensor, map_: Tensor) -> Tensor:
    a, b, low, high = map_[:, :, None, :].unbind(1)
    return torch.minimum(torch.maximum(a * g + b, low), high)
