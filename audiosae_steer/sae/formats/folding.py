"""Foldings of what other libraries compute in another order into the weights of `SAE`.

All of it is exact but for rounding: computed in float64, kept in float32 or wider. Rounding can matter to a feature
whose pre-activation is within a few units in the last place of its threshold, and to no other.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reading_raw(W_enc: Tensor, b_enc: Tensor, b_dec: Tensor) -> Tensor:
    """The b_enc of an SAE whose encoder reads x itself, where that of `SAE` reads x − b_dec: b_enc + W_enc·b_dec.

    Args:
        W_enc: (F, d).
        b_enc: (F,).
        b_dec: (d,).
    """
    return (b_enc.double() + W_enc.double() @ b_dec.double()).to(_wide(W_enc))


def gated_as_jumprelu(W_gate: Tensor, r_mag: Tensor, b_gate: Tensor, b_mag: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """W_enc (F, d), b_enc (F,) and threshold (F,) of the jumprelu SAE that a gated one is.

    With p = W_gate·(x − b_dec), a gated SAE gives exp(r_mag)·p + b_mag where that is positive and p + b_gate is too
    (Rajamanoharan et al., arXiv 2404.16014, section 3.2). Both hold where it exceeds max(0, b_mag − exp(r_mag)·b_gate).

    Args:
        W_gate: (F, d), which reads for the gate and, times exp(r_mag), for the magnitude.
        r_mag: (F,).
        b_gate: (F,).
        b_mag: (F,).
    """
    dtype, scale = _wide(W_gate), r_mag.double().exp()
    threshold = (b_mag.double() - scale * b_gate.double()).clamp(min=0)
    return (W_gate.double() * scale[:, None]).to(dtype), b_mag.to(dtype), threshold.to(dtype)


def unit_directions(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same relu SAE with directions of norm 1: what the norms were is in the activations. All (F, …)."""
    norms = W_dec.double().norm(dim=-1)
    if torch.allclose(norms, torch.ones_like(norms)):
        return W_enc, b_enc, W_dec
    return by_norms(W_enc, b_enc, W_dec)


def by_norms(W_enc: Tensor, b_enc: Tensor, W_dec: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Encoder times, and decoder by, the norms of the decoder's directions; a direction of zeros stays. All (F, …)."""
    norms, dtype = W_dec.double().norm(dim=-1), _wide(W_enc)
    norms[norms == 0] = 1.0
    return (W_enc * norms[:, None]).to(dtype), (b_enc * norms).to(dtype), (W_dec / norms[:, None]).to(dtype)


def just_below(threshold: Tensor) -> Tensor:
    """The threshold that "greater than" must have to mean what "at least" means of `threshold`."""
    return torch.nextafter(threshold, torch.full_like(threshold, -torch.inf)).clamp(min=0)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
