"""The kernels as operators of torch: traced without a graph break, captured in CUDA graphs, differentiable in x.

An operator takes tensors and numbers only. Its fake form says what shape comes out; its derivative is written out, for
x alone: whoever wants gradients of amounts or of the strength takes the eager form, and so does a per-frame
normalisation. Under `torch.vmap` the mapped axis is folded into the clips.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import SteeringError
from . import eager
from .eager import Edits, Rows, Where

Maybe = Tensor | None


@torch.library.custom_op("audiosae_steer::delta", mutates_args=())
def _delta(
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

    rows, edits = Rows(W_enc, bias, threshold, W_dec, unit_norm), Edits(firing, silent, vectors, start, end)
    return launch(x, rows, edits, strength, Where(live, choice, offset, rate, times), rank, k)


@_delta.register_fake
def _(x: Tensor, *args: Any) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, W_enc, bias, threshold, W_dec, firing, _, _, start, end, strength, live, choice, offset, rate = inputs[:15]
    unit_norm, rank, k, times = inputs[15:]
    if unit_norm is not None:
        raise SteeringError("the kernel has no derivative under a per-frame normalisation: take the eager form")
    ctx.rate, ctx.k = rate, k
    ctx.save_for_backward(
        x, W_enc, bias, threshold, W_dec, firing, start, end, strength, live, choice, offset, rank, times
    )  # fmt: skip


def _backward(ctx: Any, grad: Tensor) -> tuple[Maybe, ...]:
    x, W_enc, bias, threshold, W_dec, firing, start, end, strength, live, choice, offset, rank, times = (
        ctx.saved_tensors
    )
    rows = Rows(W_enc.float(), bias, threshold, W_dec.float(), None)
    where = Where(live, choice, offset, ctx.rate, times)
    on = eager.applies(x, start, end, where)
    f = eager.activations(x.float(), rows)
    f = f if rank is None else torch.where(rank < ctx.k, f, 0.0)
    slope = eager.slope(f, eager.pick(firing, choice), on)
    changes = eager.changes(strength, on, live)
    upstream = torch.where(changes, grad.float(), 0.0)
    pre = (upstream @ rows.W_dec.T) * torch.where(f > 0, (slope - 1) * strength, 0.0)
    return ((grad + pre @ rows.W_enc).to(grad.dtype), *[None] * 18)


_delta.register_autograd(_backward, setup_context=_keep)


@torch.library.custom_op("audiosae_steer::add", mutates_args=())
def _add(
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


@_add.register_fake
def _(x: Tensor, *args: Any) -> Tensor:
    return torch.empty_like(x)


_add.register_autograd(lambda ctx, grad: (grad, *[None] * 9))


@torch.library.custom_op("audiosae_steer::rank", mutates_args=())
def rank(x: Tensor, W_enc: Tensor, bias: Tensor, own_enc: Tensor, own_bias: Tensor, index: Tensor) -> Tensor:
    """How many features come before each of `index` in a frame of x (clips, frames, d): (clips, frames, E)."""
    from .triton_rank import rank as launch

    return launch(x, W_enc, bias, own_enc, own_bias, index)


@rank.register_fake
def _(x: Tensor, W_enc: Tensor, bias: Tensor, own_enc: Tensor, own_bias: Tensor, index: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(index)), dtype=torch.int32)


@torch.library.custom_op("audiosae_steer::select", mutates_args=())
def select(pre: Tensor, index: Tensor, k: int) -> Tensor:
    """Activations (frames, E) of the features `index` under topk(k), of pre-activations (frames, F) in float32."""
    from .triton_select import select as launch

    return launch(pre, index, k)


@select.register_fake
def _(pre: Tensor, index: Tensor, k: int) -> Tensor:
    return pre.new_empty((len(pre), len(index)), dtype=torch.float32)


def _mapper(op: Any, per_clip: set[int], offset: int | None = None) -> Any:
    def mapped(info: Any, dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        if any(dim is not None and number not in per_clip for number, dim in enumerate(dims)):
            raise SteeringError(
                "vmap over a steered model maps its inputs, not the steering: map over x, and over clips' gates or "
                "choices"
            )
        given, size = list(args), info.batch_size
        for number in per_clip | ({offset} if offset is not None else set()):
            tensor, dim = given[number], dims[number]
            if tensor is not None and not (number == offset and tensor.dim() == 0):  # one offset holds for all clips
                whole = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
                given[number] = whole.reshape(-1, *whole.shape[2:])
        out: Tensor = op(*given)
        return out.reshape(size, -1, *out.shape[1:]), 0

    return mapped


_delta.register_vmap(_mapper(_delta, {0, 11, 12, 16}, offset=13))
_add.register_vmap(_mapper(_add, {0, 5, 6}, offset=7))
rank.register_vmap(_mapper(rank, {0}))


def add(x: Tensor, edits: Edits, strength: Tensor, where: Where) -> Tensor:
    """x (clips, frames, d) and the constants of `edits`, in one pass over it."""
    out: Tensor = _add(x, edits.vectors, edits.start, edits.end, strength, *where)
    return out


def delta(
    x: Tensor, rows: Rows, edits: Edits, strength: Tensor, where: Where, rank: Tensor | None = None, k: int = 0
) -> Tensor:
    """The steered residual of x (clips, frames, d), in one pass over it.

    `rank` (clips, frames, E), as of `rank`, says how many features come before each: it fires if fewer than k do.

    Raises:
        SteeringError: a derivative is wanted under a per-frame normalisation.
    """
    out: Tensor = _delta(
        x, rows.W_enc, rows.bias, rows.threshold, rows.W_dec, *edits, strength, *where[:3], where.rate, rows.unit_norm,
        rank, k, where.times,
    )  # fmt: skip
    return out
