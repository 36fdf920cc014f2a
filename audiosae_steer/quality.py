"""How well an SAE explains activations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .sae import SAE

BLOCK = 4096


class Figures(NamedTuple):
    """How well an SAE explains activations."""

    fvu: float
    """Fraction of variance unexplained."""
    l0: float
    """Features that fire per frame."""
    dead: float
    """Share of the features that never fire on these activations."""


def measure(sae: SAE, activations: Tensor) -> Figures:
    """FVU, L0 and the share of features that never fire.

    Args:
        sae: the SAE.
        activations: (frames, d_model), or (clips, frames, d_model): a true batchtopk selection is one clip's, or, of
            frames in a row, that of each 4,096.
    """
    fired = torch.zeros(sae.n_features)
    missing, total, count = 0.0, 0.0, 0
    mean = activations.reshape(-1, activations.shape[-1]).double().mean(0)
    with torch.no_grad():
        for block in blocks(activations):
            f = sae.encode(block.float())
            missing += float((sae.decode(f, like=block.float()) - block).double().square().sum())
            total += float((block - mean).square().sum())
            fired += (f > 0).sum(0)
            count += len(block)
    return Figures(missing / total, float(fired.sum()) / count, float((fired == 0).float().mean()))


def blocks(activations: Tensor) -> list[Tensor]:
    """The clips of activations, or frames in a row in blocks that a wide SAE's activations fit into memory for."""
    return list(activations) if activations.dim() == 3 else list(torch.split(activations, BLOCK))
