"""Settings of `quality`, and the records that a `Quality` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class QualitySettings:
    """Settings of `quality`."""

    controls: tuple[str, ...] = ("random",)
    """Dictionaries to hold the SAE against: random, permuted, dense; repeatable."""
    orders: int = 20
    """Random orders of the clips behind the curve of features that are alive."""
    draws: int = 1000
    """Bootstrap draws of groups behind an interval."""
    seed: int = 0
    """Seed of orders, draws and controls."""


class AlivePoint(NamedTuple):
    """Features that have fired within so many frames."""

    frames: int
    share: float
    """Of all features, the mean over orders of the clips."""
    low: float
    """Smallest of the orders."""
    high: float
    """Largest of the orders."""


class ControlQuality(NamedTuple):
    """A control in the SAE's place, or the mean frame."""

    name: str
    fvu: float
    l2: float
    """Normalised L2."""
    l0: float
