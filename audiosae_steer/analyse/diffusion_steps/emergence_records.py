"""Settings of `emergence`, and the records that an `Emergence` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..frame.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class EmergenceSettings:
    """Settings of `emergence`."""

    quorum: float = 0.9
    """Share of frames that have to agree with the final latents for a property to count as settled."""
    term: float = 0.01
    """Least change of a class's probability from noise to the final latents, for the paper's measure."""
    unchanged: float = 1e-3
    """Total variation between noise and the final latents below which a property never changes."""
    permutations: int = 20
    """Other clips whose final latents each clip is held against, for the share that agrees by chance."""
    draws: int = 1000
    """Bootstrap draws of clips behind the intervals."""
    seed: int = 0
    """Seed of the draws and of the other clips."""


class StepPoint(NamedTuple):
    """A property at one step, by one reading of the trajectory."""

    step: int
    """Counted from 0, the noise."""
    time: float
    agree: float
    """Share of frames whose likeliest class is that of the final latents."""
    agree_interval: Interval | None
    chance: float | None
    """The same share against the final latents of other clips; None of a single clip."""
    tv: float | None
    """1 − TV(p_t, p_T) / TV(p_0, p_T), TV summed over frames first; None where the property never changes."""
    tv_interval: Interval | None
    paper: float | None
    """Mean of the paper's quotients over classes and frames whose probability changes; not bounded by 1."""


class PropertyCurve(NamedTuple):
    """A property over all steps, by one reading."""

    reading: str
    points: tuple[StepPoint, ...]
    agreeing: tuple[tuple[int, ...], ...]
    """(T + 1, groups) frames that agree."""


class LeadPoint(NamedTuple):
    """State above the line at one step."""

    step: int
    agree: float
    agree_interval: Interval | None
    tv: float | None
    tv_interval: Interval | None


class PropertyEmergence(NamedTuple):
    """A property along the trajectory."""

    name: str
    classes: int
    change: float
    """Total variation between noise and the final latents, the mean of all frames."""
    changes: bool
    """It is not below the bound."""
    terms: float
    """Share of classes and frames whose probability changes enough for the paper's measure."""
    curves: tuple[PropertyCurve, ...]
    lead: tuple[LeadPoint, ...]
    """State − line, paired by clip."""

    def curve(self, reading: str) -> PropertyCurve:
        """The curve of a reading. KeyError: there is none."""
        return {each.reading: each for each in self.curves}[reading]


class StepFit(NamedTuple):
    """Fraction of variance that the SAE leaves unexplained at a step."""

    step: int
    state: float
    predicted: float | None
    """None of residuals of a block."""
    line: float


class Settling(NamedTuple):
    """Step from which a property stays as it ends."""

    step: int | None
    """First step from which the lower 95 % bound of the share that agrees stays at the quorum or above; None: never."""
    time: float | None
    """Its time t."""
    interval: tuple[int | None, int | None]
    """The middle 95 % of the steps at which draws of clips settle; None: the draw never does."""
    seen: int | None
    """The same step by the share itself, without its bound."""
    never: float
    """Share of draws that never settle."""


class Ordering(NamedTuple):
    """Difference of two properties' settling steps."""

    first: str
    second: str
    difference: int | None
    """Settling step of the second less that of the first, by the shares themselves; None where either never settles."""
    interval: tuple[int, int] | None
    """The middle 95 % of the draws in which both settle."""
    before: float
    """Share of draws in which the first settles before the second; one that never settles counts as last."""
    after: float
    """Share of draws in which it settles after the second."""
