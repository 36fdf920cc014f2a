"""Which of the edited features a topk or batchtopk gate keeps, without the activations of all features at once.

All pre-activations have to be computed, but only a block of frames of them is ever held: 256 × 6144 in float32 are
6 MB, about what a core's cache takes. Ties go to the lower index, as in the reference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import fused, kernel_for, reference

BLOCK = 256
"""Frames on a processor."""
BLOCK_GPU = 2048
"""Frames on a GPU, whose matrix products want more of them; 84 MB with 10,240 features."""
WIDEST = 16384
"""Features that the kernel takes."""


def selected(x: Tensor, w: reference.Weights, index: Tensor) -> Tensor:
    """Activations (clips, frames, E) of the features `index` under a topk or batchtopk selection among all F.

    x is (clips, frames, d).
    """
    if w.kind == "topk":
        flat = x.reshape(1, -1, x.shape[-1])  # a frame's selection knows nothing of other frames
        block = BLOCK_GPU if x.is_cuda else BLOCK
        kept = [_of_frames(dense(part, w), w.k or 0, index) for part in torch.split(flat, block, dim=1)]
        return torch.cat(kept, dim=1).reshape(*x.shape[:-1], len(index)) if kept else _nothing(x, index)
    clips = [_of_clip(clip[None], w, index) for clip in x]
    return torch.cat(clips) if clips else _nothing(x, index)


def dense(x: Tensor, w: reference.Weights) -> Tensor:
    """Rectified pre-activations (clips, frames, F) before any selection."""
    return reference.encode(x, w._replace(kind="relu"))


def _of_frames(pre: Tensor, k: int, index: Tensor) -> Tensor:
    """The largest k of each frame keep their value; of those, the features `index`. pre is (1, frames, F)."""
    own = pre[..., index]
    if k >= pre.shape[-1]:
        return own
    if k <= 0:
        return torch.zeros_like(own)
    if kernel_for(pre) == "triton" and pre.dtype == torch.float32 and pre.shape[-1] <= WIDEST and not pre.requires_grad:
        chosen: Tensor = fused.select(pre[0], index, k)
        return chosen[None]
    cut = torch.topk(pre, k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    mask = own >= cut
    if not _asks(pre):
        return reference.kept(own, _ranked(pre, k, index, cut, mask))
    crowded = ((pre >= cut).sum(-1) > k) & (cut[..., 0] > 0)  # more ties at the edge than there is room for
    if crowded.any():
        mask[crowded] = reference.largest(pre[crowded], k)[:, index]
    return reference.kept(own, mask)


def _ranked(pre: Tensor, k: int, index: Tensor, cut: Tensor, mask: Tensor) -> Tensor:
    """`mask`, with ties at the cut going to the lower indices, and no question asked of the device."""
    tied = pre == cut
    room = k - (pre > cut).sum(-1, keepdim=True)
    return mask & (~tied[..., index] | (tied.cumsum(-1)[..., index] <= room))


def _of_clip(x: Tensor, w: reference.Weights, index: Tensor) -> Tensor:
    """The same for the k·frames largest of one clip (1, frames, d)."""
    wanted = min((w.k or 0) * x.shape[1], x.shape[1] * len(w.b_enc))
    if not _asks(x) or not wanted:
        return reference.encode(x, w)[..., index]
    own, best = [], x.new_zeros(0)
    for block in torch.split(x, BLOCK, dim=1):
        pre = dense(block, w)
        own.append(pre[..., index])
        # nothing below the worst of so many that are known can be among the best
        low = best.amin() if len(best) == wanted else torch.tensor(0.0, dtype=pre.dtype)
        best = torch.cat([best, pre[~(pre <= low)]])
        if best.isnan().any():
            return reference.encode(x, w)[..., index]
        if len(best) > wanted:
            crowd, best = best, torch.topk(best, wanted, sorted=False).values
            if (crowd == best.amin()).sum() > (best == best.amin()).sum():
                return reference.encode(x, w)[..., index]  # ties at the edge: the reference knows who comes first
    low = best.amin() if len(best) == wanted else torch.tensor(0.0, dtype=best.dtype)
    f = torch.cat(own, dim=1)
    return torch.where(f < low, torch.zeros_like(f), f)


def _asks(x: Tensor) -> bool:
    """Whether asking the device for a number is free."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _nothing(x: Tensor, index: Tensor) -> Tensor:
    return x.new_zeros(*x.shape[:-1], len(index))
