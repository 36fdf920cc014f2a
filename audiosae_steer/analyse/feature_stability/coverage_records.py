"""Settings of `stability`, and the records that a `Coverage` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class StabilitySettings:
    """Settings of `stability`."""

    theta: float = 0.5
    """χ above which a feature is covered."""
    cosine: float = 0.7
    """Cosine of decoder rows, without its sign, above which they count as the same."""
    min_frames: int = 50
    """Frames on which a feature has to fire to be seen."""
    min_clips: int = 5
    """Clips in which it has to."""
    shifts: int = 20
    """Circular shifts of B that the null is the mean of."""
    draws: int = 1000
    """Bootstrap draws of groups behind the interval."""
    controls: tuple[str, ...] = ("random", "permuted")
    """Controls of B to hold A against: random, permuted, dense; repeatable."""
    seed: int = 0
    """Seed of the shifts, the draws and the controls."""


class DensityRow(NamedTuple):
    """Features of A whose density lies in a range."""

    low: float
    high: float
    seen: int
    covered: int
    null_share: float
    """Share that is covered after shifts, the mean of all."""


class Side(NamedTuple):
    """Coverage of one dictionary by another."""

    features: int
    seen: int
    covered: int
    share: float
    null_share: float
    duplicates: int
    """Seen features with χ > θ to another feature of the same dictionary."""
    null_duplicates: float
    """The same after shifts."""

    @property
    def excess(self) -> float:
        """Share above the null's."""
        return self.share - self.null_share


class ControlCoverage(NamedTuple):
    """Coverage of A by a control in B's place."""

    name: str
    side: Side


class DecoderMatch(NamedTuple):
    """Second opinion, by decoder rows."""

    share: float
    """Share of A's seen features with a cosine, without its sign, above the bound to a row of B's."""
    null_share: float
    """The same with the entries of each of B's rows shuffled."""
    same_partner: float | None
    """Of the features that both opinions match, the share for which they name the same partner."""


class HeldOut(NamedTuple):
    """Partners chosen on one half of the groups, and measured on the other."""

    seen: int
    """Features with support in both halves."""
    covered: int
    """Those whose partner has χ > θ in the other half."""
    share: float
    null_share: float
    """The same partners, B's patterns of the other half shifted; the mean of all shifts."""
