"""Rules that change several features of a frame together, which clamped affine maps of single features cannot."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Turned(NamedTuple):
    """f' = max(f + amounts, 0)·rms(f) / rms(max(f + amounts, 0)), over the columns that it has."""

    columns: Tensor
    """(n,) long, of the edited features."""
    amounts: Tensor
    """(n,)."""

    def __call__(self, g: Tensor) -> Tensor:
        """g' of g (clips, frames, E). A frame on which nothing would be left keeps its own."""
        f = g.index_select(-1, self.columns)
        raised = (f + self.amounts).clamp(min=0)
        before, after = (each.square().sum(-1, keepdim=True).sqrt() for each in (f, raised))
        left = after > 0
        turned = torch.where(left, raised * (before / torch.where(left, after, 1.0)), f)
        return g.index_copy(-1, self.columns, turned.to(g.dtype))


class Led(NamedTuple):
    """f' = f + α·direction, with the least α from 0 to `most` that lets every lead be `margin` or more."""

    columns: Tensor
    """(n,) long, of the edited features."""
    direction: Tensor
    """(n,)."""
    rivals: Tensor
    """(R, n): weights of each lead, rivals·f + bias."""
    bias: Tensor
    """(R,)."""
    gain: Tensor
    """(R,): each lead's growth with α; those that do not grow are left alone."""
    limits: Tensor
    """(2,): margin and most."""

    def __call__(self, g: Tensor) -> Tensor:
        """g' of g (clips, frames, E)."""
        f = g.index_select(-1, self.columns)
        missing = self.limits[0] - (f @ self.rivals.T + self.bias)
        grows = self.gain > 0
        needed = torch.where(grows, missing / torch.where(grows, self.gain, 1.0), -torch.inf)
        alpha = torch.minimum(needed.amax(-1, keepdim=True).clamp(min=0), self.limits[1])
        return g.index_copy(-1, self.columns, (f + alpha * self.direction).to(g.dtype))


Joint = Turned | Led
RULES: dict[str, type[Turned] | type[Led]] = {"Turned": Turned, "Led": Led}
"""Every rule by its name."""
