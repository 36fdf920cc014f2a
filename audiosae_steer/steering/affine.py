"""Clamped affine maps of activations, which every edit of a feature stands for, and their composition."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

INF = math.inf


class Affine(NamedTuple):
    """f' = clamp(a·f + b, low, high); each field is (n,), one entry per edited feature."""

    a: Tensor
    b: Tensor
    low: Tensor
    high: Tensor

    def __call__(self, f: Tensor) -> Tensor:
        """Apply to activations (..., n)."""
        return torch.minimum(torch.maximum(self.a * f + self.b, self.low), self.high)

    def then(self, other: Affine) -> Affine:
        """The one map that does this and then `other`."""

        def moved(bound: Tensor) -> Tensor:
            return torch.where(other.a == 0, other.b, other.a * bound + other.b)

        low, high = moved(self.low), moved(self.high)
        low, high = torch.minimum(low, high), torch.maximum(low, high)
        return Affine(
            self.a * other.a,
            other.a * self.b + other.b,
            torch.minimum(torch.maximum(low, other.low), other.high),
            torch.minimum(torch.maximum(high, other.low), other.high),
        )

    @staticmethod
    def identity(n: int) -> Affine:
        """The map that changes nothing."""
        one, zero = torch.ones(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        return Affine(one, zero, zero - INF, zero + INF)
