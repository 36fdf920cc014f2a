"""The kernels as operators of torch: traced without a graph break, captured in CUDA graphs, differentiable in x.

An operator takes tensors and numbers only. Its fake form gives the shape of the result; its derivative is written out,
for x alone: gradients of amounts or of the strength need the eager form, and so does a per-frame normalisation. Under
`torch.vmap` the mapped axis is folded into the clips. Arguments are found by name: a new one is a line in the operator
and a line where it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import SteeringError
from . import eager
from .eager import CompiledEdits, Rows, Where

Gradients = tuple[Tensor | None, ...]
"""One for each argument of an operator."""


def _launch_delta(
    x: Tensor,
    W_enc: Tensor,
    bias: Tensor,
    threshold: Tensor,
    W_dec: Tensor,
    firing: Tensor,
    silent: Tensor | None,
    vectors: Tensor | None,
    start: Tensor | None,
    end: Tensor | None,
    strength: Tensor,
    live: Tensor | None,
    choice: Tensor | None,
    offset: Tensor | None,
    rate: float,
    unit_norm: float | None,
    rank: Tensor | None,
    k: int,
    times: Tensor | None,
) -> Tensor:
    from .triton_delta import delta as launch

    rows, edits = Rows(W_enc, bias, threshold, W_dec, unit_norm), CompiledEdits(firing, silent, vectors, start, end)
    return launch(x, rows, edits, strength, Where(live, choice, offset, rate, times), rank, k)


def _launch_add(
    x: Tensor,
    vectors: Tensor,
    start: Tensor | None,
    end: Tensor | None,
    strength: Tensor,
    live: Tensor | None,
    choice: Tensor | None,
    offset: Tensor | None,
    rate: float,
    times: Tensor | None,
) -> Tensor:
    from .triton_delta import add as launch

    return launch(x, vectors, start, end, strength, Where(live, choice, offset, rate, times))


_delta = torch.library.custom_op("audiosae_steer::delta", _launch_delta, mutates_args=())
_add = torch.library.custom_op("audiosae_steer::add", _launch_add, mutates_args=())
_DELTA, _ADD = (tuple(inspect.signature(launch).parameters) for launch in (_launch_delta, _launch_add))
"""Names of their arguments, in order."""


@torch.library.custom_op("audiosae_steer::rank", mutates_args=())
def rank(x: Tensor, W_enc: Tensor, bias: Tensor, own_enc: Tensor, own_bias: Tensor, index: Tensor) -> Tensor:
    """Number of features before each of `index` in a frame of x (clips, frames, d): (clips, frames, E), int32."""
    from .triton_rank import rank as launch

    return launch(x, W_enc, bias, own_enc, own_bias, index)


@torch.library.custom_op("audiosae_steer::select", mutates_args=())
def select(pre: Tensor, index: Tensor, k: int) -> Tensor:
    """Activations (frames, E) of the features `index` under topk(k), of pre-activations (frames, F) in float32."""
    from .triton_select import select as launch

    return launch(pre, index, k)


@_delta.register_fake
@_add.register_fake
def _(x: Tensor, *args: Any) -> Tensor:
    return torch.empty_like(x)


@rank.register_fake
def _(x: Tensor, W_enc: Tensor, bias: Tensor, own_enc: Tensor, own_bias: Tensor, index: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(index)), dtype=torch.int32)


@select.register_fake
def _(pre: Tensor, index: Tensor, k: int) -> Tensor:
    return pre.new_empty((len(pre), len(index)), dtype=torch.float32)


class _Saved(NamedTuple):
    """Arguments of `delta` that its derivative needs, by their names there."""

    x: Tensor
    W_enc: Tensor
    bias: Tensor
    threshold: Tensor
    W_dec: Tensor
    firing: Tensor
    start: Tensor | None
    end: Tensor | None
    strength: Tensor
    live: Tensor | None
    choice: Tensor | None
    offset: Tensor | None
    rank: Tensor | None
    times: Tensor | None


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    given = dict(zip(_DELTA, inputs, strict=True))
    if given["unit_norm"] is not None:
        raise SteeringError("the kernel has no derivative under a per-frame normalisation: take the eager form")
    ctx.rate, ctx.k = given["rate"], given["k"]
    ctx.save_for_backward(*(given[name] for name in _Saved._fields))


def _backward_of_delta(ctx: Any, grad: Tensor) -> Gradients:
    saved = _Saved(*ctx.saved_tensors)
    rows = Rows(saved.W_enc.float(), saved.bias, saved.threshold, saved.W_dec.float(), None)
    where = Where(saved.live, saved.choice, saved.offset, ctx.rate, saved.times)
    on = eager.applies(saved.x, saved.start, saved.end, where)
    f = eager.activations(saved.x.float(), rows)
    f = f if saved.rank is None else torch.where(saved.rank < ctx.k, f, 0.0)
    slope = eager.slope(f, eager.pick(saved.firing, saved.choice), on)
    steered = eager.changes(saved.strength, on, saved.live)
    upstream = torch.where(steered, grad.float(), 0.0)
    pre = (upstream @ rows.W_dec.T) * torch.where(f > 0, (slope - 1) * eager.by_clip(saved.strength), 0.0)
    return _of_x_alone((grad + pre @ rows.W_enc).to(grad.dtype), _DELTA)


def _backward_of_add(ctx: Any, grad: Tensor) -> Gradients:
    return _of_x_alone(grad, _ADD)


def _of_x_alone(grad: Tensor, names: tuple[str, ...]) -> Gradients:
    return tuple(grad if name == "x" else None for name in names)


_delta.register_autograd(_backward_of_delta, setup_context=_save_for_backward)
_add.register_autograd(_backward_of_add)


def _folded(op: Any, names: tuple[str, ...], per_clip: set[str]) -> Callable[..., tuple[Tensor, int]]:
    """A rule for `torch.vmap`: the mapped axis of the arguments that have an entry for each clip joins the clips.

    An offset or strength () holds for all clips; one of (clips,) is among them.
    """

    def mapped(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        if any(dim is not None and name not in per_clip for name, dim in zip(names, dims, strict=True)):
            raise SteeringError(
                "vmap over a steered model maps its inputs, not the steering: map over x, and over clips' gates or "
                "choices"
            )

        def fold(name: str, argument: Any, dim: int | None) -> Any:
            each = per_clip | {"offset", "strength"}
            if name not in each or argument is None or (name in ("offset", "strength") and argument.dim() == 0):
                return argument
            whole = argument.expand(info.batch_size, *argument.shape) if dim is None else argument.movedim(dim, 0)
            return whole.reshape(-1, *whole.shape[2:])

        out: Tensor = op(*map(fold, names, args, dims))
        return out.reshape(info.batch_size, -1, *out.shape[1:]), 0

    return mapped


_delta.register_vmap(_folded(_delta, _DELTA, {"x", "live", "choice", "rank"}))
_add.register_vmap(_folded(_add, _ADD, {"x", "live", "choice"}))
rank.register_vmap(_folded(rank, ("x", "W_enc", "bias", "own_enc", "own_bias", "index"), {"x"}))


def add(x: Tensor, edits: CompiledEdits, strength: Tensor, where: Where) -> Tensor:
    """x (clips, frames, d) and the constants of `edits`, in one pass over it."""
    out: Tensor = _add(
        x, edits.vectors, edits.start, edits.end, strength, where.live, where.choice, where.offset, where.rate,
        where.times,
    )  # fmt: skip
    return out


def delta(
    x: Tensor, rows: Rows, edits: CompiledEdits, strength: Tensor, where: Where, rank: Tensor | None = None, k: int = 0
) -> Tensor:
    """The steered residual of x (clips, frames, d), in one pass over it.

    A feature fires only if fewer than k come before it by `rank` (clips, frames, E), as `rank()` gives them.

    Raises:
        SteeringError: a derivative is wanted under a per-frame normalisation.
    """
    out: Tensor = _delta(
        x, rows.W_enc, rows.bias, rows.threshold, rows.W_dec, edits.firing, edits.silent, edits.vectors, edits.start,
        edits.end, strength, where.live, where.choice, where.offset, where.rate, rows.unit_norm, rank, k, where.times,
    )  # fmt: skip
    return out
