"""Orthogonal matching pursuit: a few rows of a dictionary that add up to a dense vector."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(vector: Tensor, basis: Tensor, count: int, tolerance: float = 1e-4) -> tuple[Tensor, Tensor]:
    """At most `count` rows of `basis`, and the weights with which they come near `vector`.

    Orthogonal matching pursuit (Pati et al., 1993): one row after another, that which points most along what is left,
    and after each the best weights of all of them. Keeping the largest weights of a fit by many rows does worse: many
    small ones make up much of the vector.

    Args:
        vector: (d_model,).
        basis: (rows, d_model), of norm 1 each.
        count: most rows.
        tolerance: the share of the vector's norm that may be left over.

    Returns:
        indices of the rows, in the order of their choosing, and their weights.
    """
    chosen: list[int] = []
    weights, rest = torch.zeros(0), vector
    while len(chosen) < min(count, *basis.shape) and rest.norm() > tolerance * vector.norm():
        fit = (basis @ rest).abs()
        fit[chosen] = -1.0
        chosen.append(int(fit.argmax()))
        rows = basis[chosen]
        weights = torch.linalg.lstsq(rows.T.double(), vector.double()[:, None]).solution[:, 0].float()
        rest = vector - weights @ rows
    return torch.tensor(chosen, dtype=torch.long), weights
