"""`delta` in one Triton launch: x is read and written once, and activations never reach memory.

A program holds some frames of one clip. It multiplies them by a block of the edited encoder rows, gates, edits, and
multiplies the change by the decoder rows. Where all edited features fit one block, x is read from memory once and
once more from the cache; where they do not, the change is summed in float32 in a scratch buffer that the caches hold.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from .eager import CompiledEdits, Rows, Where

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Triton's interpreter runs the kernels; its products know no bfloat16."""
MAX_BLOCK_E = 128
"""Edited features in one block: as many as the registers of a program hold for 64 frames."""


@triton.jit
def _affine(g, table, features, here, E):
    a = tl.load(table + features, mask=here, other=1.0)
    b = tl.load(table + E + features, mask=here, other=0.0)
    low = tl.load(table + 2 * E + features, mask=here, other=-float("inf"))
    high = tl.load(table + 3 * E + features, mask=here, other=float("inf"))
    moved = a[None, :] * g + b[None, :]
    moved = tl.maximum(moved, low[None, :], propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(moved, high[None, :], propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _applies(times, start_ptr, end_ptr, stage):
    return (times >= tl.load(start_ptr + stage)) & (times < tl.load(end_ptr + stage))


@triton.jit
def _frames(
    frames, S, rate, start_ptr, end_ptr, live_ptr, choice_ptr, strength_ptr, offset_ptr, times_ptr,
    WINDOWS: tl.constexpr, TIMES: tl.constexpr, OFFSET: tl.constexpr, LIVE: tl.constexpr, CHOICE: tl.constexpr,
    STRENGTHS: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """The program's clip, its frames and their times, the clip's choice, the strength, and which frames change."""
    tiles = tl.cdiv(frames, BLOCK_M)
    clip = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles) * BLOCK_M + tl.arange(0, BLOCK_M)
    if TIMES:
        times = tl.load(times_ptr + t, mask=t < frames, other=0.0).to(tl.float32)
    else:
        times = tl.div_rn(t.to(tl.float32) + 0.5, tl.zeros([BLOCK_M], tl.float32) + rate)
    if OFFSET:
        times = times + tl.load(offset_ptr + (clip if OFFSET == 2 else 0)).to(tl.float32)
    which = tl.load(choice_ptr + clip) if CHOICE else clip * 0
    strength = tl.load(strength_ptr + (clip if STRENGTHS else 0)).to(tl.float32)
    changes = tl.where(strength != 0, t < frames, False)
    if LIVE == 1:
        changes = changes & (tl.load(live_ptr + clip) != 0)
    if LIVE == 2:
        changes = changes & (tl.load(live_ptr + clip * frames + t, mask=t < frames, other=0) != 0)
    if WINDOWS:
        on = _applies(times, start_ptr, end_ptr, which * S)
        for s in range(1, S):
            on = on | _applies(times, start_ptr, end_ptr, which * S + s)
        changes = changes & on
    return clip, t, times, which, strength, changes


@triton.jit
def _pushed(
    vectors_ptr, columns, across, times, start_ptr, end_ptr, which, S, d, strength,
    WINDOWS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    found = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for s in range(S):
        vector = strength * tl.load(vectors_ptr + (which * S + s) * d + columns, mask=across, other=0.0)[None, :]
        if WINDOWS:
            found += tl.where(_applies(times, start_ptr, end_ptr, which * S + s)[:, None], vector, 0.0)
        else:
            found += vector
    return found


@triton.jit
def _delta_kernel(
    x_ptr, out_ptr, scratch_ptr, enc_ptr, bias_ptr, threshold_ptr, dec_ptr, firing_ptr, silent_ptr, vectors_ptr,
    start_ptr, end_ptr, live_ptr, choice_ptr, strength_ptr, offset_ptr, times_ptr, rank_ptr,
    frames, d, E, S, k, rate, unit_scale, x_clip, x_frame, x_d, out_clip, out_frame, out_d,
    SILENT: tl.constexpr, WINDOWS: tl.constexpr, TIMES: tl.constexpr, OFFSET: tl.constexpr, LIVE: tl.constexpr,
    CHOICE: tl.constexpr, STRENGTHS: tl.constexpr,
    PUSHES: tl.constexpr, UNIT: tl.constexpr, RANKED: tl.constexpr, ONE_BLOCK: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    clip, t, times, which, strength, changes = _frames(
        frames, S, rate, start_ptr, end_ptr, live_ptr, choice_ptr, strength_ptr, offset_ptr, times_ptr,
        WINDOWS, TIMES, OFFSET, LIVE, CHOICE, STRENGTHS, BLOCK_M,
    )  # fmt: skip
    inside = t < frames
    x_row = x_ptr + clip * x_clip + t.to(tl.int64)[:, None] * x_frame
    out_row = out_ptr + clip * out_clip + t.to(tl.int64)[:, None] * out_frame

    if tl.max(changes.to(tl.int32), 0) == 0:
        for at in range(0, d, BLOCK_D):
            columns = at + tl.arange(0, BLOCK_D)
            here = inside[:, None] & (columns < d)[None, :]
            x = tl.load(x_row + columns[None, :] * x_d, mask=here)
            tl.store(out_row + columns[None, :] * out_d, x, mask=here)
    else:
        scale = tl.full([BLOCK_M], 1.0, tl.float32)
        if UNIT:
            squares = tl.zeros([BLOCK_M], tl.float32)
            for at in range(0, d, BLOCK_D):
                columns = at + tl.arange(0, BLOCK_D)
                here = inside[:, None] & (columns < d)[None, :]
                x = tl.load(x_row + columns[None, :] * x_d, mask=here, other=0.0).to(tl.float32)
                squares += tl.sum(x * x, 1)
            least = 1.1754943508222875e-38 * tl.maximum(unit_scale, 1.0)
            scale = unit_scale / tl.maximum(tl.sqrt(squares), least, propagate_nan=tl.PropagateNan.ALL)

        for block in range(0, E, BLOCK_E):
            features = block + tl.arange(0, BLOCK_E)
            known = features < E
            pre = tl.zeros([BLOCK_M, BLOCK_E], tl.float32)
            for at in range(0, d, BLOCK_D):
                columns = at + tl.arange(0, BLOCK_D)
                across = columns < d
                x = tl.load(x_row + columns[None, :] * x_d, mask=inside[:, None] & across[None, :], other=0.0)
                w = tl.load(
                    enc_ptr + features[None, :].to(tl.int64) * d + columns[:, None],
                    mask=across[:, None] & known[None, :], other=0.0,
                )  # fmt: skip
                if WIDE:
                    pre = tl.dot(x.to(tl.float32), w.to(x.dtype).to(tl.float32), acc=pre, input_precision="ieee")
                else:
                    pre = tl.dot(x, w.to(x.dtype), acc=pre, input_precision=PRECISION)
            pre = pre * scale[:, None] + tl.load(bias_ptr + features, mask=known, other=0.0)[None, :]
            threshold = tl.load(threshold_ptr + features, mask=known, other=float("inf"))
            f = tl.where(pre <= threshold[None, :], 0.0, pre)
            if RANKED:
                ranks = rank_ptr + (clip * frames + t)[:, None] * E + features[None, :]
                before = tl.load(ranks, mask=inside[:, None] & known[None, :], other=0)
                f = tl.where((before < k) | (f != f), f, 0.0)  # NaN times nothing is NaN
            g = f
            for s in range(S):
                table = (which * S + s) * 4 * E
                changed = _affine(g, firing_ptr + table, features, known, E)
                if SILENT:
                    changed = tl.where(f <= 0, _affine(g, silent_ptr + table, features, known, E), changed)
                if WINDOWS:
                    changed = tl.where(_applies(times, start_ptr, end_ptr, which * S + s)[:, None], changed, g)
                g = changed
            change = (g - f) * strength / scale[:, None]
            change = tl.where(known[None, :], change, 0.0)

            for at in range(0, d, BLOCK_D):
                columns = at + tl.arange(0, BLOCK_D)
                across = columns < d
                here = inside[:, None] & across[None, :]
                w = tl.load(
                    dec_ptr + features[:, None].to(tl.int64) * d + columns[None, :],
                    mask=known[:, None] & across[None, :], other=0.0,
                )  # fmt: skip
                x = tl.load(x_row + columns[None, :] * x_d, mask=here, other=0.0)
                if WIDE:
                    wide = change.to(x.dtype).to(tl.float32)
                    added = tl.dot(wide, w.to(x.dtype).to(tl.float32), input_precision="ieee")
                else:
                    added = tl.dot(change.to(x.dtype), w.to(x.dtype), input_precision=PRECISION)
                sums = scratch_ptr + (clip * frames + t)[:, None] * d + columns[None, :]
                if not ONE_BLOCK:
                    if block > 0:
                        added += tl.load(sums, mask=here, other=0.0)
                    tl.store(sums, added, mask=here)
                    tl.debug_barrier()
                if block + BLOCK_E >= E:
                    if PUSHES:
                        added += _pushed(
                            vectors_ptr, columns, across, times, start_ptr, end_ptr, which, S, d, strength,
                            WINDOWS, BLOCK_M, BLOCK_D,
                        )  # fmt: skip
                    steered = (x.to(tl.float32) + added).to(x.dtype)
                    tl.store(out_row + columns[None, :] * out_d, tl.where(changes[:, None], steered, x), mask=here)


@triton.jit
def _add_kernel(
    x_ptr, out_ptr, vectors_ptr, start_ptr, end_ptr, live_ptr, choice_ptr, strength_ptr, offset_ptr, times_ptr,
    frames, d, S, rate, x_clip, x_frame, x_d, out_clip, out_frame, out_d,
    WINDOWS: tl.constexpr, TIMES: tl.constexpr, OFFSET: tl.constexpr, LIVE: tl.constexpr, CHOICE: tl.constexpr,
    STRENGTHS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    clip, t, times, which, strength, changes = _frames(
        frames, S, rate, start_ptr, end_ptr, live_ptr, choice_ptr, strength_ptr, offset_ptr, times_ptr,
        WINDOWS, TIMES, OFFSET, LIVE, CHOICE, STRENGTHS, BLOCK_M,
    )  # fmt: skip
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    across = columns < d
    here = (t < frames)[:, None] & across[None, :]
    rows = t.to(tl.int64)[:, None]
    x = tl.load(x_ptr + clip * x_clip + rows * x_frame + columns[None, :] * x_d, mask=here)
    added = _pushed(
        vectors_ptr, columns, across, times, start_ptr, end_ptr, which, S, d, strength, WINDOWS, BLOCK_M, BLOCK_D
    )  # fmt: skip
    steered = tl.where(changes[:, None], (x.to(tl.float32) + added).to(x.dtype), x)
    tl.store(out_ptr + clip * out_clip + rows * out_frame + columns[None, :] * out_d, steered, mask=here)


def add(
    x: Tensor,
    vectors: Tensor,
    start: Tensor | None,
    end: Tensor | None,
    strength: Tensor,
    where: Where,
    out: Tensor | None = None,
) -> Tensor:
    """x (clips, frames, d) and constants as in `CompiledEdits`, by one launch; into `out`, which may be x itself."""
    clips, frames, d = x.shape
    out = torch.empty_like(x) if out is None else out
    if not x.numel():
        return out
    live, choice, offset, times = (_flat(each) for each in (where.live, where.choice, where.offset, where.times))
    block_m, block_d = 1 if frames == 1 else 16, min(triton.next_power_of_2(d), 256)
    grid = (clips * triton.cdiv(frames, block_m), triton.cdiv(d, block_d))
    with on(x.device):
        _add_kernel[grid](
            x, out, vectors, start, end, live, choice, strength, offset, times,
            frames, d, vectors.shape[1], where.rate, *x.stride(), *out.stride(),
            WINDOWS=start is not None, TIMES=where.times is not None, OFFSET=_offsets(where),
            LIVE=0 if live is None else live.dim(), CHOICE=choice is not None, STRENGTHS=strength.dim() == 1,
            BLOCK_M=block_m, BLOCK_D=block_d,
        )  # fmt: skip
    return out


def delta(
    x: Tensor,
    rows: Rows,
    edits: CompiledEdits,
    strength: Tensor,
    where: Where,
    rank: Tensor | None = None,
    k: int = 0,
    out: Tensor | None = None,
) -> Tensor:
    """The steered residual of x (clips, frames, d), by one launch; into `out`, which may be x itself.

    A feature fires only if fewer than k come before it by `rank` (clips, frames, E).
    """
    clips, frames, d = x.shape
    width, stages = len(rows.bias), edits.firing.shape[1]
    out = torch.empty_like(x) if out is None else out
    if not x.numel():
        return out
    block_e = max(16, min(triton.next_power_of_2(width), MAX_BLOCK_E))
    block_m = 16 if frames <= 16 else 64 if frames > 256 else 32
    one = block_e >= width
    scratch = x if one else torch.empty((clips, frames, d), dtype=torch.float32, device=x.device)
    tf32 = x.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    live, choice, offset, times = (_flat(each) for each in (where.live, where.choice, where.offset, where.times))
    grid = (clips * triton.cdiv(frames, block_m),)
    with on(x.device):
        _delta_kernel[grid](
            x, out, scratch, rows.W_enc, rows.bias, rows.threshold, rows.W_dec, edits.firing, edits.silent,
            edits.vectors, edits.start, edits.end, live, choice, strength, offset, times, rank,
            frames, d, width, stages, k, where.rate, rows.unit_norm or 0.0, *x.stride(), *out.stride(),
            SILENT=edits.silent is not None, WINDOWS=edits.start is not None, TIMES=where.times is not None,
            OFFSET=_offsets(where),
            LIVE=0 if live is None else live.dim(), CHOICE=choice is not None, STRENGTHS=strength.dim() == 1,
            PUSHES=edits.vectors is not None, UNIT=rows.unit_norm is not None, RANKED=rank is not None,
            ONE_BLOCK=one,
            PRECISION="tf32" if tf32 else "ieee", WIDE=INTERPRETED,
            BLOCK_M=block_m, BLOCK_E=block_e, BLOCK_D=64, num_warps=8 if block_m * block_e > 4096 else 4,
        )  # fmt: skip
    return out


def _flat(per_clip: Tensor | None) -> Tensor | None:
    return None if per_clip is None else per_clip.contiguous()


def _offsets(where: Where) -> int:
    """0: none, 1: one for all clips, 2: one for each."""
    return 0 if where.offset is None else 1 + (where.offset.dim() == 1)


def on(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, which need not be that of the tensors."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
