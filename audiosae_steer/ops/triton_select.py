"""Topk's selection for the edited features of a frame in one launch: no sort, ties to the lower index.

Rectified numbers are ordered as their bits are. So the k-th largest of a frame is found by deciding its bits from the
highest to the lowest, each by a count over the frame, which a program holds whole; where more are tied at that number
than there is room for, the index up to which they are kept is found the same way.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .dispatch import MAX_SELECT_FEATURES
from .triton_delta import on


@triton.jit
def _select_kernel(
    pre_ptr, index_ptr, out_ptr, F, E, k, pre_row, pre_column,
    BLOCK_F: tl.constexpr, BLOCK_E: tl.constexpr, PLACES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK_F)
    pre = tl.load(pre_ptr + row * pre_row + place * pre_column, mask=place < F, other=0.0).to(tl.float32)
    bits = tl.maximum(pre, 0.0, propagate_nan=tl.PropagateNan.ALL).to(tl.int32, bitcast=True)
    bits = tl.where(place < F, bits, -1)
    cut = tl.min(tl.zeros([BLOCK_F], tl.int32), 0)
    for step in range(31):
        candidate = cut | (1 << (30 - step))
        cut = tl.where(tl.sum((bits >= candidate).to(tl.int32), 0) >= k, candidate, cut)
    tied = bits == cut
    room = k - tl.sum((bits > cut).to(tl.int32), 0)
    last = tl.min(
        tl.zeros([BLOCK_F], tl.int32), 0
    )  # how many of the first features hold no more ties than there is room
    for step in range(PLACES):
        candidate = last | (1 << (PLACES - 1 - step))
        last = tl.where(tl.sum((tied & (place < candidate)).to(tl.int32), 0) <= room, candidate, last)
    for start in range(0, E, BLOCK_E):
        wanted = start + tl.arange(0, BLOCK_E)
        known = wanted < E
        feature = tl.load(index_ptr + wanted, mask=known, other=0)
        own = tl.load(pre_ptr + row * pre_row + feature * pre_column, mask=known, other=0.0).to(tl.float32)
        own = tl.maximum(own, 0.0, propagate_nan=tl.PropagateNan.ALL)
        own_bits = own.to(tl.int32, bitcast=True)
        kept = (own_bits > cut) | ((own_bits == cut) & (feature < last))
        kept = kept | (own != own)  # NaN times nothing is NaN
        tl.store(out_ptr + row * E + wanted, tl.where(kept, own, 0.0), mask=known)


def select(pre: Tensor, index: Tensor, k: int) -> Tensor:
    """Activations (frames, E) of the features `index` under topk(k), of pre-activations (frames, F) in float32.

    Raises:
        ValueError: F is more than a program can hold, or k is not from 1 to F.
    """
    frames, width = pre.shape
    if width > MAX_SELECT_FEATURES or not 1 <= k <= width:
        raise ValueError(
            f"cannot select {k} of {width} features; expected 1 to {width}, and {MAX_SELECT_FEATURES} features at most"
        )
    out = torch.empty((frames, len(index)), dtype=torch.float32, device=pre.device)
    if not out.numel():
        return out
    block = max(triton.next_power_of_2(width), 32)
    with on(pre.device):
        _select_kernel[(frames,)](
            pre, index, out, width, len(index), k, *pre.stride(),
            BLOCK_F=block, BLOCK_E=min(max(triton.next_power_of_2(len(index)), 16), 256),
            PLACES=block.bit_length(), num_warps=8 if block >= 4096 else 4,
        )  # fmt: skip
    return out
