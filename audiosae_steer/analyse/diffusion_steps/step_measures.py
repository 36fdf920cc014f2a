"""Measures of one clip's properties at each step, from their probabilities, and their sums over groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SteeringError

Numbers = NDArray[np.float64]
Classes = NDArray[np.int16]


class ClipSteps(NamedTuple):
    """One property of one clip, by one reading, summed over its frames."""

    agree: Numbers
    """(T + 1,) frames whose likeliest class is that of the final latents."""
    distance: Numbers
    """(T + 1,) total variation to the final probabilities."""
    paper: Numbers
    """(T + 1,) sum of the paper's quotients over classes and frames that change."""
    likeliest: Classes
    """(T + 1, frames) likeliest class."""


class ClipEnds(NamedTuple):
    """One property of one clip at its ends."""

    change: float
    """Total variation between noise and final latents, summed over frames."""
    terms: int
    """Classes and frames whose probability changes enough."""
    cells: int
    """Classes and frames."""


def measures(p: Tensor, first: Tensor, last: Tensor, term: float) -> ClipSteps:
    """Measures of probabilities along a trajectory.

    Args:
        p: (T + 1, frames, classes) by a reading.
        first: (frames, classes) of the noise.
        last: (frames, classes) of the final latents.
        term: least change of a probability for the paper's quotient; a smaller one is left out, so that nothing is
            divided by zero.
    """
    likeliest = p.argmax(-1)
    moved = (last - first).abs()
    kept = moved >= term
    quotients = (p - first).abs() / torch.where(kept, moved, torch.ones_like(moved))
    return ClipSteps(
        (likeliest == last.argmax(-1)).sum(1).double().numpy(),
        ((p - last).abs().sum((1, 2)) / 2).numpy(),
        (quotients * kept).sum((1, 2)).numpy(),
        likeliest.to(torch.int16).numpy(),
    )


def ends(first: Tensor, last: Tensor, term: float) -> ClipEnds:
    """The change of probabilities (frames, classes) from noise to the final latents."""
    moved = (last - first).abs()
    return ClipEnds(float(moved.sum() / 2), int((moved >= term).sum()), moved.numel())


def checked(found: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, Tensor]:
    """Probabilities that a reader gave, in float64, by property.

    Raises:
        SteeringError: they are of another shape than (n, frames, classes), not finite, or do not add up to 1.
    """
    given = {}
    for name, values in found.items():
        p = torch.as_tensor(values).detach().double().cpu()
        if p.dim() != 3 or p.shape[:2] != shape or p.shape[2] < 2:
            raise SteeringError(
                f"the map gives {name} as {tuple(p.shape)} for {shape[0]} x {shape[1]} frames; expected "
                "(n, frames, classes) with two classes at least"
            )
        if not bool((p.sum(-1) - 1).abs().max() < 1e-3):
            raise SteeringError(f"the map's probabilities of {name} do not add up to 1; give them after the softmax")
        given[name] = p
    if not given:
        raise SteeringError("the map reads no property; give one that reads at least one")
    return given


def chance(likeliest: list[Classes], shifts: list[int]) -> Numbers | None:
    """Share (T + 1,) of frames that agree with the final latents of other clips; None without any.

    Args:
        likeliest: (T + 1, frames) of each clip, by a reading; the last step is that of the final latents.
        shifts: distances of the other clips in the list, which is taken as a ring.
    """
    if not shifts:
        return None
    agree, total = np.zeros(len(likeliest[0])), 0
    for number, own in enumerate(likeliest):
        for shift in shifts:
            other = likeliest[(number + shift) % len(likeliest)][-1]
            common = min(own.shape[1], len(other))
            agree += (own[:, :common] == other[:common]).sum(1)
            total += common
    found: Numbers = agree / max(total, 1)
    return found


def settling(shares: Numbers, quorum: float) -> NDArray[np.int64]:
    """First step from which shares (..., T + 1) stay at the quorum or above; T + 1 where they never do."""
    below = ~(shares >= quorum)
    last = shares.shape[-1] - np.argmax(below[..., ::-1], axis=-1)
    return np.where(below.any(-1), last, 0)
