"""Settings of `domains`, and the records that a `Domains` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Literal, NamedTuple

from ...errors import SteeringError
from ..frame.intervals import Interval

Level = Literal["frame", "clip"]


class Rule(NamedTuple):
    """Rule by which a feature is assigned to the domain in which it fires most often."""

    level: Level
    """Frequency over frames, or over clips in which the feature fires at all."""
    kind: Literal["difference", "ratio"]
    """Comparison with the next domain: by the difference of frequencies, or by their ratio (Jeffreys prior)."""
    bound: float
    """Least difference, or least ratio."""

    @property
    def margin(self) -> float:
        """The bound in the unit that is compared: a difference, or a base-2 logarithm."""
        return self.bound if self.kind == "difference" else log2(self.bound)

    def __str__(self) -> str:
        return f"{self.level}s, {'τ ' if self.kind == 'difference' else 'ratio '}{self.bound:g}"


@dataclass(frozen=True, kw_only=True)
class DomainSettings:
    """Settings of `domains`."""

    frame_taus: tuple[float, ...] = (0.2, 0.1, 0.04)
    """Least difference of frame-level frequencies to every other domain; repeatable."""
    clip_taus: tuple[float, ...] = (0.5, 0.3)
    """Least difference of clip-level frequencies; repeatable."""
    ratios: tuple[float, ...] = (4.0,)
    """Least ratio of frequencies, at either level; repeatable."""
    seconds: float = 2.0
    """Length that clips are cut to, in seconds; shorter ones are left out."""
    min_frames: int = 50
    """Frames on which a feature has to fire to be seen."""
    min_clips: int = 5
    """Clips in which it has to."""
    permutations: int = 200
    """Permutations of the clips' domains behind the null."""
    draws: int = 1000
    """Bootstrap draws of groups behind the interval."""
    controls: tuple[str, ...] = ("dense", "random", "permuted")
    """Controls of the SAE: dense, random, permuted; repeatable."""
    seed: int = 0
    """Seed of the permutations, the parts, the draws and the controls."""

    def rules(self) -> tuple[Rule, ...]:
        """The rules, those of frames first.

        Raises:
            SteeringError: a bound means nothing, or there is none.
        """
        for name, values, low, high in (
            ("frame_taus", self.frame_taus, 0.0, 1.0),
            ("clip_taus", self.clip_taus, 0.0, 1.0),
            ("ratios", self.ratios, 1.0, float("inf")),
        ):
            wrong = [value for value in values if not low < value < high]
            if wrong:
                raise SteeringError(f"{name} holds {wrong[0]:g}; expected numbers above {low:g} and below {high:g}")
        if self.seconds <= 0 or self.permutations < 1:
            raise SteeringError(
                f"seconds is {self.seconds:g} and permutations {self.permutations}; both have to be above 0"
            )
        found = [
            *(Rule("frame", "difference", tau) for tau in self.frame_taus),
            *(Rule("frame", "ratio", ratio) for ratio in self.ratios),
            *(Rule("clip", "difference", tau) for tau in self.clip_taus),
            *(Rule("clip", "ratio", ratio) for ratio in self.ratios),
        ]
        if not found:
            raise SteeringError("there is no rule to assign features by; give at least one tau or ratio")
        return tuple(found)


class DomainFacts(NamedTuple):
    """Data of a domain."""

    name: str
    clips: int
    """Clips that are long enough."""
    left_out: int
    """Clips that are too short."""
    groups: int
    """Recordings or speakers."""
    pieces: int
    """Stretches of equal length that the clips are cut into."""
    sources: tuple[str, ...]
    """Corpora, or folders, that the clips come from."""


class Assigned(NamedTuple):
    """Features that a rule assigns to one of several domains."""

    domains: tuple[str, ...]
    """Domains that are compared: all, or a pair or triple of them."""
    rule: Rule
    features: tuple[int, ...]
    """Number of features of each domain."""
    null: tuple[float, ...]
    """The same with the clips' domains permuted, the mean of all."""
    null_spread: float
    """Standard deviation of the total over the permutations."""
    p: float
    """Of the total, (1 + permutations that reach it) / (1 + permutations)."""
    interval: Interval | None = None
    """95 % interval of the total, groups drawn with replacement within each domain."""

    @property
    def total(self) -> int:
        """Features of any of the domains."""
        return sum(self.features)

    @property
    def null_total(self) -> float:
        """The same with the clips' domains permuted."""
        return sum(self.null)


class Confirmed(NamedTuple):
    """Features assigned on the part `find`, and tried on the part `report`."""

    rule: Rule
    assigned: int
    """Features that the rule assigns on `find`, with support in both parts."""
    confirmed: int
    """Those that it assigns to the same domain on `report`."""
    null: float
    """The same with the domains of the clips of `report` permuted, the mean of all."""


class Survival(NamedTuple):
    """Features of a domain of several sources, one source left out after the other."""

    domain: str
    rule: Rule
    assigned: int
    """Features of the domain with all sources."""
    kept: tuple[tuple[str, int], ...]
    """Those that stay the domain's without a source, by its name."""
    survive: int
    """Those that stay whichever source is left out."""
    null: float
    """The same with the sources permuted among the domain's recordings, the mean of all."""


class ControlDomains(NamedTuple):
    """A control in the SAE's place, all domains compared."""

    name: str
    features: int
    seen: int
    assigned: tuple[Assigned, ...]
