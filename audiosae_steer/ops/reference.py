"""The truth: the definition of an SAE and of a steering, written as plainly as torch allows.

Every other path, kernel and dtype is held against these functions run in float64. They work in whatever dtype
they are given, keep no state and know tensors only.

Shapes: x is (clips, frames, d), f is (clips, frames, F). `W_enc` and `W_dec` are both (F, d): row i reads, and
writes, feature i.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class SAEWeights(NamedTuple):
    """An SAE as bare tensors and numbers."""

    W_enc: Tensor
    """(F, d): encoder rows."""
    b_enc: Tensor
    """(F,): encoder bias."""
    W_dec: Tensor
    """(F, d): row i is the direction that feature i writes."""
    b_dec: Tensor
    """(d,): subtracted before encoding, added after decoding."""
    kind: str
    """Gate: `relu`, `jumprelu`, `topk`, `batchtopk` or `rms`."""
    k: int | None
    """Features kept per frame (`topk`), or per frame on average over a clip (`batchtopk`)."""
    threshold: Tensor | None
    """(F,) or (): a feature fires above it. None: no threshold is known."""
    norm: str
    """Input normalisation: `none`, `scalar` or `unit_norm`."""
    scale: float
    """`scalar`: x·scale goes in. `unit_norm`: scale·x/‖x‖ goes in."""
    gain: Tensor | None = None
    """(F,) or (): factor on each activation after the division, of `rms` alone."""
    epsilon: float = 0.0
    """Added to the mean square, of `rms` alone."""


def largest(pre: Tensor, count: int) -> Tensor:
    """Mask of the `count` largest entries of each row of `pre` (rows, n); ties go to the lower index."""
    count = min(count, pre.shape[-1])
    if count <= 0:
        return torch.zeros_like(pre, dtype=torch.bool)
    cut = torch.topk(pre, count, dim=-1, sorted=True).values[..., -1:]
    above = pre > cut
    tied = pre == cut
    room = count - above.sum(-1, keepdim=True)
    return above | (tied & (tied.cumsum(-1) <= room))


def kept(f: Tensor, mask: Tensor) -> Tensor:
    """f where the mask holds and 0 elsewhere, but that NaN stays NaN."""
    return torch.where(mask | f.isnan(), f, torch.zeros_like(f))


def gate(
    pre: Tensor, kind: str, k: int | None, threshold: Tensor | None, gain: Tensor | None = None, epsilon: float = 0.0
) -> Tensor:
    """Sparse activations of pre-activations `pre` (clips, frames, F).

    Of `rms`, f = gain·h/√(mean(h²) + epsilon) with h = ReLU(pre), the mean being that of all F features of a frame
    (RMSNorm: Zhang and Sennrich, arXiv 1910.07467; after a ReLU in SAEs: Paek et al., arXiv 2510.23802).
    """
    if kind == "rms":
        if gain is None:
            raise ValueError("an rms gate needs a gain")
        h = pre.clamp(min=0)
        return gain * h / torch.sqrt(h.square().mean(-1, keepdim=True) + epsilon)
    if kind == "relu":
        return pre.clamp(min=0)
    if kind == "topk":
        return kept(pre.clamp(min=0), largest(pre.clamp(min=0), k or 0))
    if kind == "batchtopk" and threshold is None:
        clips, frames, width = pre.shape
        flat = pre.clamp(min=0).reshape(clips, frames * width)
        return kept(flat, largest(flat, (k or 0) * frames)).reshape(pre.shape)
    if threshold is None:
        raise ValueError(f"a {kind} gate needs a threshold")
    return torch.where(pre <= threshold.clamp(min=0), torch.zeros_like(pre), pre)  # NaN stays NaN


def input_scale(x: Tensor, norm: str, scale: float) -> Tensor | float:
    """Factor on x before the encoder, and divisor after the decoder: (clips, frames, 1), or a number."""
    if norm == "none":
        return 1.0
    if norm == "scalar":
        return scale
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return scale / torch.clamp(norms, min=torch.finfo(x.dtype).tiny * max(1.0, scale))  # a frame of zeros stays finite


def encode(x: Tensor, w: SAEWeights) -> Tensor:
    """f = gate(W_enc·(s·x − b_dec) + b_enc), with s the input normalisation."""
    pre = (x * input_scale(x, w.norm, w.scale) - w.b_dec) @ w.W_enc.T + w.b_enc
    return gate(pre, w.kind, w.k, w.threshold, w.gain, w.epsilon)


def decode(f: Tensor, w: SAEWeights, scale: Tensor | float = 1.0) -> Tensor:
    """x̂ = (W_dec·f + b_dec)/s."""
    return (f @ w.W_dec + w.b_dec) / scale


def frame_score(f: Tensor, weights: Tensor, bias: float, reach_frames: int) -> Tensor:
    """Score (clips, frames) of a frame gate: weights·g + bias, g (n,) the largest f within `reach_frames` of a frame.

    f is (clips, frames, n), the activations of the features that the gate reads.
    """
    frames = range(f.shape[1])
    near = [f[:, max(frame - reach_frames, 0) : frame + reach_frames + 1].amax(1) for frame in frames]
    return torch.stack(near, 1) @ weights + bias


def steer(
    x: Tensor,
    w: SAEWeights | None,
    edit: Callable[[Tensor], Tensor],
    *,
    push: Tensor | float = 0.0,
    strength: float = 1.0,
    error: str = "keep",
    on: Tensor | None = None,
) -> Tensor:
    """The steered residual.

    With the error kept, x' = x + s·(W_dec·(f' − f) + push); with it dropped, x' = x + s·(x̂(f') + push − x).
    `edit` maps f to f'. `on` (clips, frames, 1) says where the steering applies at all; elsewhere, and at strength 0,
    x' is x.
    """
    if w is None:
        steered = x + strength * push
    else:
        scale = input_scale(x, w.norm, w.scale)
        f = encode(x, w)
        if error == "drop":
            steered = x + strength * (decode(edit(f), w, scale) + push - x)
        else:
            steered = x + strength * (((edit(f) - f) @ w.W_dec) / scale + push)
    if strength == 0:
        return x
    return steered if on is None else torch.where(on, steered, x)
