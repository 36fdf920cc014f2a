"""Topk's selection for a few edited features in one launch: how many features come before each of them, by counting.

A program holds some frames, computes the edited features' pre-activations, then those of a share of all features, a
block at a time, and counts which are larger (or equal, and of lower index). Neither the pre-activations nor the
activations reach memory. A feature is kept if fewer than k come before it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .triton_delta import INTERPRETED, on

PROGRAMS = 264
"""Wanted at least, two for each multiprocessor of an H200: where there are few frames, several share their features."""


@triton.jit
def _products(
    x_ptr, row, x_stride, w_ptr, columns, known, bias_ptr, rows, d,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_F: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    pre = tl.zeros([BLOCK_M, BLOCK_F], tl.float32)
    for at in range(0, d, BLOCK_D):
        depth = at + tl.arange(0, BLOCK_D)
        across = depth < d
        x = tl.load(
            x_ptr + row[:, None] * x_stride + depth[None, :],
            mask=(row < rows)[:, None] & across[None, :], other=0.0,
        )  # fmt: skip
        w = tl.load(
            w_ptr + columns[None, :].to(tl.int64) * d + depth[:, None],
            mask=across[:, None] & known[None, :], other=0.0,
        )  # fmt: skip
        if WIDE:
            pre = tl.dot(x.to(tl.float32), w.to(x.dtype).to(tl.float32), acc=pre, input_precision="ieee")
        else:
            pre = tl.dot(x, w.to(x.dtype), acc=pre, input_precision=PRECISION)
    return pre + tl.load(bias_ptr + columns, mask=known, other=0.0)[None, :]


@triton.jit
def _rank_kernel(
    x_ptr, enc_ptr, bias_ptr, own_enc_ptr, own_bias_ptr, index_ptr, out_ptr, rows, d, F, E, x_stride, share,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_E: tl.constexpr,
    BLOCK_F: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    place = tl.arange(0, BLOCK_E)
    edited = place < E
    own = _products(
        x_ptr, row, x_stride, own_enc_ptr, place, edited, own_bias_ptr, rows, d, PRECISION, WIDE, BLOCK_M, BLOCK_E,
        BLOCK_D,
    )  # fmt: skip
    before = tl.zeros([BLOCK_M, BLOCK_E], tl.int32)
    start = tl.program_id(1) * share
    for block in range(start, min(start + share, F), BLOCK_F):
        columns = block + tl.arange(0, BLOCK_F)
        known = columns < F
        pre = _products(
            x_ptr, row, x_stride, enc_ptr, columns, known, bias_ptr, rows, d, PRECISION, WIDE, BLOCK_M, BLOCK_F,
            BLOCK_D,
        )  # fmt: skip
        for e in range(E):
            mine = tl.sum(tl.where((place == e)[None, :], own, 0.0), 1)[:, None]
            feature = tl.load(index_ptr + e)
            first = (pre > mine) | (pre != pre) | ((pre == mine) & (columns < feature)[None, :])
            # itself never comes before itself, however its two sums were rounded
            first = first & (known & (columns != feature))[None, :]
            before += tl.where((place == e)[None, :], tl.sum(first.to(tl.int32), 1)[:, None], 0)
    here = (row < rows)[:, None] & edited[None, :]
    tl.atomic_add(out_ptr + row[:, None] * E + place[None, :], before, mask=here)


def rank(x: Tensor, W_enc: Tensor, bias: Tensor, own_enc: Tensor, own_bias: Tensor, index: Tensor) -> Tensor:
    """Number of features before each of `index` in each frame: (clips, frames, E), in int32.

    x is (clips, frames, d); W_enc (F, d) and own_enc (E, d), with biases (F,) and (E,) into which b_dec is folded.
    """
    clips, frames, d = x.shape
    width, count = len(bias), len(index)
    out = torch.zeros((clips, frames, count), dtype=torch.int32, device=x.device)
    if not out.numel():
        return out
    flat = x.reshape(-1, d)
    flat = flat if flat.stride(1) == 1 else flat.contiguous()
    rows = len(flat)
    block_m, block_f = (16, 64) if rows <= 16 else (128, 128)
    tiles = triton.cdiv(rows, block_m)
    parts = min(triton.cdiv(PROGRAMS, tiles), triton.cdiv(width, block_f))
    share = triton.cdiv(triton.cdiv(width, block_f), parts) * block_f
    tf32 = x.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    with on(x.device):
        _rank_kernel[(tiles, triton.cdiv(width, share))](
            flat, W_enc, bias, own_enc, own_bias, index, out, rows, d, width, count, flat.stride(0), share,
            PRECISION="tf32" if tf32 else "ieee", WIDE=INTERPRETED,
            BLOCK_M=block_m, BLOCK_E=max(16, triton.next_power_of_2(count)), BLOCK_F=block_f, BLOCK_D=64, num_warps=8,
        )  # fmt: skip
    return out
