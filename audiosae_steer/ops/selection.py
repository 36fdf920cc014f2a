"""Gates that read all features (topk, batchtopk, rms), and reconstructions, which need every row of the SAE.

All pre-activations have to be computed, but only a block of frames of them is ever held: 512 × 6144 in float32 are
13 MB. Ties go to the lower index, as in the reference.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from . import custom_ops, reference
from .dispatch import MAX_SELECT_FEATURES, asks, kernel_for

BLOCK = 512
"""Frames on a processor: with 256 the product takes about a tenth longer, with 1500 no less."""
BLOCK_GPU = 2048
"""Frames on a GPU, whose matrix products want more of them; 84 MB with 10,240 features."""
SPARSE = 1 / 16
"""Share of the features up to which a frame's sum over those that it keeps is faster than a product with all rows.

Two cores, 1500 frames (`benchmarks/kernels.py`): of 6,144, 6.4 against 122 ms for 50 features and 30 against 104 for
400; of 10,240, 13 against 245 ms for 50, 124 against 284 for 400, and no more than even for 800.
"""


def selected(x: Tensor, w: reference.SAEWeights, index: Tensor) -> Tensor:
    """Activations (clips, frames, E) of the features `index` under a topk or batchtopk selection among all F, or rms.

    x is (clips, frames, d).
    """
    wide = w.b_enc.dtype
    if w.kind in ("topk", "rms"):  # a frame's selection, or norm, knows nothing of other frames
        blocks = _blocks(x.reshape(1, -1, x.shape[-1]), w)
        kept = [(_of_frames(pre, w.k or 0, index) if w.kind == "topk" else _gate(pre, w)[..., index]) for pre in blocks]
        kept = [each.to(wide) for each in kept]
        return torch.cat(kept, dim=1).reshape(*x.shape[:-1], len(index)) if kept else _nothing(x, index)
    clips = [_of_clip(clip[None], w, index).to(wide) for clip in x]
    return torch.cat(clips) if clips else _nothing(x, index)


def parted(x: Tensor, w: reference.SAEWeights, index: Tensor) -> tuple[Tensor, Tensor]:
    """Activations (clips, frames, E) of the features `index`, and the sum of all others' decoder rows, without b_dec.

    x and the sum are (clips, frames, d); any gate.
    """
    edited = torch.zeros(len(w.b_enc), dtype=torch.bool, device=x.device).index_fill_(
        0, index, 1
    )  # True is no number to torch.jit.trace
    if w.kind == "batchtopk" and w.threshold is None:
        clips = [_parted_clip(clip[None], w, index, edited) for clip in x]
    else:
        flat = x.reshape(1, -1, x.shape[-1])
        clips = [_parted_frames(pre, w, index, edited) for pre in _blocks(flat, w)]
    if not clips:
        return _nothing(x, index), x.new_zeros(x.shape)
    own, rest = (torch.cat([part[each] for part in clips], dim=1) for each in (0, 1))
    return own.to(w.b_enc.dtype).reshape(*x.shape[:-1], len(index)), rest.to(w.b_enc.dtype).reshape(x.shape)


def dense(x: Tensor, w: reference.SAEWeights) -> Tensor:
    """Pre-activations (clips, frames, F) in the dtype of W_enc, summed wide and rounded once."""
    wide = x.to(w.b_enc.dtype)
    # centred before it is rounded: what x has in common with b_dec would drown the rest
    read = (wide * reference.input_scale(wide, w.norm, w.scale) - w.b_dec).to(w.W_enc.dtype)
    pre = torch.addmm(w.b_enc.to(w.W_enc.dtype), read.reshape(-1, x.shape[-1]), w.W_enc.T)
    return pre.reshape(*x.shape[:-1], len(w.b_enc))


def sums_kept(device: torch.device, k: int, width: int) -> bool:
    """Decoding k kept features of `width` one by one is faster than by all rows; unmeasured on GPUs, so never there."""
    return device.type == "cpu" and k <= SPARSE * width


def _blocks(x: Tensor, w: reference.SAEWeights) -> Iterator[Tensor]:
    return (dense(part, w) for part in torch.split(x, BLOCK_GPU if x.is_cuda else BLOCK, dim=1))


def _of_frames(pre: Tensor, k: int, index: Tensor) -> Tensor:
    """The largest k of each frame keep their value; of those, the features `index`. pre is (1, frames, F)."""
    own = pre[..., index].clamp(min=0)
    if k >= pre.shape[-1]:
        return own
    if k <= 0:
        return torch.zeros_like(own)
    if kernel_for(pre) == "triton" and pre.shape[-1] <= MAX_SELECT_FEATURES and not pre.requires_grad:
        chosen: Tensor = custom_ops.select(pre[0], index, k)
        return chosen[None]
    if not asks(pre):
        cut = _least(torch.topk(pre, k, dim=-1, sorted=False).values)
        return reference.kept(own, _ranked(pre, k, index, cut, own >= cut))
    cut, crowded = _edges(torch.topk(pre, k + 1, dim=-1, sorted=False).values)
    mask = own >= cut
    if crowded.any():
        mask[crowded] = reference.largest(pre[crowded], k)[:, index]
    return reference.kept(own, mask)


def _edges(top: Tensor) -> tuple[Tensor, Tensor]:
    """Of the k + 1 largest of each frame: the k-th (…, 1), and where the next is tied with it (…)."""
    following, cut = torch.topk(top, 2, dim=-1, largest=False).values.unbind(-1)  # in rising order
    return cut[..., None], (cut == following) & (cut > 0)


def _least(top: Tensor) -> Tensor:
    """The least of the last axis (…, 1) that is a number."""
    return top.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf).amin(-1, keepdim=True)


def _ranked(pre: Tensor, k: int, index: Tensor, cut: Tensor, mask: Tensor) -> Tensor:
    """`mask`, with ties at the cut going to the lower indices, and no number read from the device."""
    tied = pre == cut
    room = k - (pre > cut).sum(-1, keepdim=True)
    return mask & (~tied[..., index] | (tied.cumsum(-1, dtype=torch.int32)[..., index] <= room))


def _of_clip(x: Tensor, w: reference.SAEWeights, index: Tensor) -> Tensor:
    """The same for the k·frames largest of one clip (1, frames, d)."""
    wanted = min((w.k or 0) * x.shape[1], x.shape[1] * len(w.b_enc))
    if not wanted:
        return _nothing(x, index)
    if not asks(x):
        pre = dense(x, w).clamp(min=0)
        # a radix selection on a GPU: nothing is sorted
        low = _least(torch.topk(pre.flatten(), wanted, sorted=False).values)
        tied, room = pre == low, wanted - (pre > low).sum()
        before = tied.sum(-1).cumsum(-1) - tied.sum(-1)  # ties in earlier frames of the clip
        among = tied.cumsum(-1, dtype=torch.int32)[..., index] + before[..., None]
        own = pre[..., index]
        return reference.kept(own, (own > low) | (tied[..., index] & (among <= room)))
    cut, own = _edge(x, w, index)
    return gated(x, w)[..., index] if cut is None else torch.where(own < cut, torch.zeros_like(own), own)


def _edge(x: Tensor, w: reference.SAEWeights, index: Tensor) -> tuple[Tensor | None, Tensor]:
    """The smallest activation that is kept of one clip, and the activations of `index` before the selection.

    None where it takes the whole to decide: with NaN, or with ties at the edge, whose order
    the reference has.
    """
    wanted = min((w.k or 0) * x.shape[1], x.shape[1] * len(w.b_enc))
    own, zero = [], x.new_zeros((), dtype=w.W_enc.dtype)
    best = zero.new_zeros(0)
    for pre in _blocks(x, w):
        own.append(pre[..., index].clamp(min=0))
        # nothing below the worst of so many that are known can be among the best
        full = len(best) == wanted
        low = best.amin() if full else zero
        best = torch.cat([best, pre[~(pre < low)] if full else pre[~(pre <= low)]])  # what is tied with it counts
        if best.isnan().any():
            return None, own[0]
        if len(best) > wanted:
            crowd, best = best, torch.topk(best, wanted, sorted=False).values
            if (crowd == best.amin()).sum() > (best == best.amin()).sum():
                return None, own[0]
    return best.amin() if len(best) == wanted else zero, torch.cat(own, dim=1)


def gated(x: Tensor, w: reference.SAEWeights) -> Tensor:
    """Activations (clips, frames, F), all at once."""
    return _gate(dense(x, w), w)


def _gate(pre: Tensor, w: reference.SAEWeights) -> Tensor:
    """The reference's, in the dtype of `pre`; but a sum of squares over all features is taken wide, and stays so."""
    pre = pre.to(w.b_enc.dtype) if w.kind == "rms" else pre
    return reference.gate(pre, w.kind, w.k, w.threshold, w.gain, w.epsilon)


def _parted_frames(pre: Tensor, w: reference.SAEWeights, index: Tensor, edited: Tensor) -> tuple[Tensor, Tensor]:
    k, width = w.k or 0, pre.shape[-1]
    if w.kind != "topk" or not 0 < k < width or not asks(pre) or not sums_kept(pre.device, k, width):
        return _taken(_gate(pre, w), w, index)
    values, indices = torch.topk(pre, k + 1, dim=-1)
    if values[..., 0].isnan().any():  # the largest of all: it spreads to what each feature writes
        return _taken(_gate(pre, w), w, index)
    cut, crowded = _edges(values)
    mask, values, indices = pre[..., index] >= cut, values[..., :k], indices[..., :k].contiguous()
    if crowded.any():  # common in bfloat16
        rows = pre[crowded]
        first = reference.largest(rows, k)
        mask[crowded] = first[:, index]
        values[crowded], indices[crowded] = rows[first].reshape(-1, k), first.nonzero()[:, 1].reshape(-1, k)
    own = reference.kept(pre[..., index].clamp(min=0), mask)
    values, indices = values[0], indices[0]
    amounts = values.clamp(min=0).masked_fill(edited[indices], 0.0)
    return own, functional.embedding_bag(indices, w.W_dec, per_sample_weights=amounts, mode="sum")[None]


def _parted_clip(x: Tensor, w: reference.SAEWeights, index: Tensor, edited: Tensor) -> tuple[Tensor, Tensor]:
    if not asks(x) or not x.shape[1] or not w.k or not sums_kept(x.device, w.k, len(w.b_enc)):
        return _taken(gated(x, w), w, index)
    cut, own = _edge(x, w, index)
    if cut is None:
        return _taken(gated(x, w), w, index)
    rest = []
    for pre in _blocks(x, w):
        frame, feature = ((pre[0] >= cut) & (pre[0] > 0) & ~edited).nonzero().T
        starts = torch.searchsorted(frame, torch.arange(pre.shape[1], device=x.device))
        amounts = pre[0][frame, feature]
        rest.append(functional.embedding_bag(feature, w.W_dec, starts, per_sample_weights=amounts, mode="sum"))
    return torch.where(own < cut, torch.zeros_like(own), own), torch.cat(rest)[None]


def _taken(f: Tensor, w: reference.SAEWeights, index: Tensor) -> tuple[Tensor, Tensor]:
    return f[..., index], f.index_fill(-1, index, 0.0).to(w.W_dec.dtype) @ w.W_dec


def _nothing(x: Tensor, index: Tensor) -> Tensor:
    return x.new_zeros(*x.shape[:-1], len(index))
