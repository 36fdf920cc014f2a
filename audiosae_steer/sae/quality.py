"""Quality of an SAE on activations: unexplained variance, sparsity, dead features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .autoencoder import SAE

BLOCK = 4096
FAR = 4.0
"""Times the median norm. Late layers of a Whisper have a few frames of up to thirty times the others' norm, which
dominate a variance: what is said of all frames is said of those."""


class Streamed(Protocol):
    """Frames that need not all be in memory."""

    def stream(self) -> Iterator[Tensor]:
        """Blocks (frames, d_model), the same ones each time."""


class Figures(NamedTuple):
    """Quality of an SAE on activations."""

    fvu: float
    """Fraction of variance unexplained, of all frames."""
    l0: float
    """Features that fire per frame, on average over all frames."""
    dead: float
    """Share of the features that never fire on these activations."""
    fvu_near: float
    """Fraction of variance unexplained of the frames of ordinary norm, at most FAR times the median: the variance, too,
    is that of these frames. The harder figure, and the more honest one."""
    l0_near: float
    """Features that fire on those."""
    far: float
    """Share of the frames that are not among those."""

    def __str__(self) -> str:
        return f"FVU {self.fvu:.3f} ({self.fvu_near:.3f} without far frames), L0 {self.l0:.1f}, silent {self.dead:.1%}"


class _Sums:
    """Of a set of frames, as they come."""

    def __init__(self, width: int) -> None:
        self.count, self.missing, self.squares, self.fired = 0, 0.0, 0.0, 0.0
        self.total = torch.zeros(width, dtype=torch.float64)

    def add(self, x: Tensor, error: Tensor, fired: Tensor) -> None:
        self.count += len(x)
        self.missing += float(error.double().sum())
        self.squares += float(x.double().square().sum())
        self.total += x.double().sum(0)
        self.fired += float(fired.double().sum())

    @property
    def fvu(self) -> float:
        variance = self.squares - float(self.total.square().sum()) / max(self.count, 1)
        return self.missing / variance if variance > 0 else float("nan")

    @property
    def l0(self) -> float:
        return self.fired / max(self.count, 1)


def measure(sae: SAE, activations: Tensor | Streamed) -> Figures:
    """FVU, L0 and the share of features that never fire.

    Args:
        sae: the SAE.
        activations: (frames, d_model), or (clips, frames, d_model): a true batchtopk selection is one clip's, or, of
            frames in a row, that of each 4,096. Or a stream of blocks of frames.
    """
    stream = _streamed(activations)
    norms = torch.cat([block.norm(dim=-1) for block in stream()])
    limit = FAR * norms.median()
    every, near = _Sums(sae.d_model), _Sums(sae.d_model)
    fired = torch.zeros(sae.n_features)
    with torch.no_grad():
        for x in stream():
            f = sae.encode(x)
            error = (sae.decode(f, like=x) - x).square().sum(-1)
            firing = f > 0
            fired += firing.sum(0)
            counts, ordinary = firing.sum(-1), x.norm(dim=-1) <= limit
            every.add(x, error, counts)
            near.add(x[ordinary], error[ordinary], counts[ordinary])
    dead = float((fired == 0).float().mean())
    return Figures(every.fvu, every.l0, dead, near.fvu, near.l0, 1 - near.count / every.count)


def nested_fvu(sae: SAE, activations: Tensor | Streamed, widths: Sequence[int]) -> dict[int, float]:
    """FVU of the frames of ordinary norm where only the first features count, by how many: what a matryoshka is for."""
    stream = _streamed(activations)
    limit = FAR * torch.cat([block.norm(dim=-1) for block in stream()]).median()
    sums = {width: _Sums(sae.d_model) for width in widths}
    with torch.no_grad():
        for block in stream():
            x = block[block.norm(dim=-1) <= limit]
            f = sae.encode(x)
            for width, found in sums.items():
                kept = f.clone()
                kept[:, width:] = 0
                found.add(x, (sae.decode(kept, like=x) - x).square().sum(-1), (kept > 0).sum(-1))
    return {width: found.fvu for width, found in sums.items()}


def blocks(activations: Tensor) -> list[Tensor]:
    """The clips of activations, or frames in a row in blocks that a wide SAE's activations fit into memory for."""
    return list(activations) if activations.dim() == 3 else list(torch.split(activations, BLOCK))


def _streamed(activations: Tensor | Streamed) -> Callable[[], Iterator[Tensor]]:
    if isinstance(activations, Tensor):
        return lambda: (block.float() for block in blocks(activations))
    return activations.stream
