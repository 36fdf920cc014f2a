"""SAEs of known normalisation, and residuals they explain."""

from __future__ import annotations

from pathlib import Path

import torch
from audiosae_files import save
from torch import Tensor

from audiosae_steer import SAE, Gate, Normalisation

D, F, K = 12, 24, 6


def residuals(frames: int = 600, seed: int = 0) -> Tensor:
    """Frames that are sparse sums of 24 directions around an offset, of very different sizes."""
    g = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(F, D, generator=torch.Generator().manual_seed(99)), dim=-1)
    f = torch.rand(frames, F, generator=g) * (torch.rand(frames, F, generator=g) < 0.15)
    sizes = torch.exp(torch.randn(frames, 1, generator=g) / 2)
    return (f @ directions + 0.05) * sizes * 8


def trained(x: Tensor, way: Normalisation, steps: int = 300) -> SAE:
    """A BatchTopK SAE without a threshold that a few hundred steps fitted to x, normalised in that way."""
    torch.manual_seed(0)
    scale = way.scale if way.kind == "scalar" else 1.0
    y = x * scale if way.kind != "unit_norm" else x / x.norm(dim=-1, keepdim=True) * way.scale
    W = torch.randn(F, D) / D**0.5
    parts = [W.clone(), torch.zeros(F), W.clone(), y.mean(0)]
    for part in parts:
        part.requires_grad_(True)
    optimizer = torch.optim.Adam(parts, lr=0.02)
    for _ in range(steps):
        pre = torch.relu((y - parts[3]) @ parts[0].T + parts[1]).flatten()
        top = pre.topk(K * len(y))
        f = torch.zeros_like(pre).scatter(0, top.indices, top.values).reshape(len(y), F)
        loss = (f @ parts[2] + parts[3] - y).square().mean() / y.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return SAE(*(part.detach() for part in parts), gate=Gate("batchtopk", K))


def write(folder: Path, sae: SAE) -> Path:
    """Its weights as an `ae.pt` that says nothing of normalisation, with its threshold unset."""
    return save(
        folder,
        {
            "encoder.weight": sae.W_enc,
            "encoder.bias": sae.b_enc,
            "decoder.weight": sae.W_dec.T.contiguous(),
            "b_dec": sae.b_dec,
            "k": torch.tensor(K),
            "threshold": torch.tensor(-1.0),
        },
    )
