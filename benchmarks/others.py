"""What one would use instead: some features ablated with the error kept, by other people's code or forms.

Each takes a residual (1, frames, d) and gives the edited one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from audiosae_steer import SAE, Gate

Way = Callable[[Tensor], Any]
THRESHOLD = 2.0
K = 50


def random_sae(d: int, features: int, kind: str = "batchtopk") -> SAE:
    """A random SAE; `batchtopk` has a threshold, `topk` needs the whole selection."""
    g = torch.Generator().manual_seed(0)
    W = torch.randn(features, d, generator=g) / d**0.5
    threshold = torch.tensor(THRESHOLD) if kind == "batchtopk" else None
    gate = Gate("batchtopk" if kind == "batchtopk" else "topk", K)
    return SAE(W, torch.zeros(features), W.clone(), torch.zeros(d), gate=gate, threshold=threshold)


def by_hand(sae: SAE, features: list[int], *, topk: bool) -> Way:
    """What one writes first, and dictionary_learning's form: encode all, decode twice, keep the error."""

    chosen = torch.tensor(features, device=sae.W_enc.device)

    def way(x: Tensor) -> Tensor:
        pre = torch.relu((x - sae.b_dec) @ sae.W_enc.T + sae.b_enc)
        if topk:
            top = pre.topk(K, sorted=False, dim=-1)
            f = torch.zeros_like(pre).scatter_(-1, top.indices, top.values)
        else:
            f = pre * (pre > THRESHOLD)
        error = x - (f @ sae.W_dec + sae.b_dec)
        f[..., chosen] = 0
        return f @ sae.W_dec + sae.b_dec + error

    return way


def saelens(sae: SAE, features: list[int], *, topk: bool) -> Way:
    """SAELens' own path: its SAE with `use_error_term`, and a hook on its activations.

    Raises:
        ImportError: SAELens is not installed.
    """
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig, TopKSAE, TopKSAEConfig

    width = {"d_in": sae.d_model, "d_sae": sae.n_features}
    theirs: Any = (
        TopKSAE(TopKSAEConfig(**width, k=K), use_error_term=True)
        if topk
        else JumpReLUSAE(JumpReLUSAEConfig(**width), use_error_term=True)
    )
    theirs = theirs.to(sae.W_enc.device, sae.W_enc.dtype)
    with torch.no_grad():
        theirs.W_enc.copy_(sae.W_enc.T)
        theirs.W_dec.copy_(sae.W_dec)
        theirs.b_enc.copy_(sae.b_enc)
        theirs.b_dec.copy_(sae.b_dec)
        if not topk:
            theirs.threshold.fill_(THRESHOLD)

    chosen = torch.tensor(features, device=sae.W_enc.device)

    def ablate(f: Tensor, hook: Any) -> Tensor:
        f[..., chosen] = 0
        return f

    theirs.add_hook("hook_sae_acts_post", ablate)
    found: Way = theirs
    return found


def sparsify(sae: SAE, features: list[int]) -> Way:
    """sparsify's encoder and its decoder (Triton's on a GPU), twice, with the error kept: topk only.

    Raises:
        ImportError: `pip install eai-sparsify` was not run.
    """
    from sparsify.utils import decoder_impl, eager_decode

    decode = decoder_impl if sae.W_enc.is_cuda else eager_decode

    def way(x: Tensor) -> Tensor:
        top = torch.relu((x[0] - sae.b_dec) @ sae.W_enc.T + sae.b_enc).topk(K, sorted=False)
        kept = top.values.masked_fill(edited[top.indices], 0.0)
        error = x[0] - decode(top.indices, top.values, sae.W_dec.mT)
        return (decode(top.indices, kept, sae.W_dec.mT) + error)[None]

    edited = torch.zeros(sae.n_features, dtype=torch.bool, device=sae.W_enc.device)
    edited[features] = True
    return way


def instead(sae: SAE, topk_sae: SAE, features: list[int]) -> tuple[dict[str, Way], list[str]]:
    """All of them by name, and what had to be left out."""
    found: dict[str, Way] = {
        "error-term hook by hand": by_hand(sae, features, topk=False),
        "error-term hook by hand, topk": by_hand(topk_sae, features, topk=True),
    }
    missing = []
    try:
        found["SAELens, use_error_term"] = saelens(sae, features, topk=False)
        found["SAELens, use_error_term, topk"] = saelens(topk_sae, features, topk=True)
    except ImportError:
        missing.append("SAELens")
    try:
        found["sparsify, encoder and decoder, topk"] = sparsify(topk_sae, features)
    except ImportError:
        missing.append("sparsify")
    return found, missing
