"""Settings of `retrieval`, and the records that a `Retrieval` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """Settings of `retrieval`."""

    score: Literal["mean-coverage", "mean", "max"] = "mean-coverage"
    """Score of a clip: its mean activation times the share of its frames that fire, its mean, or its highest."""
    controls: tuple[str, ...] = ("random",)
    """Dictionaries named and scored alike, where names are found here: random, permuted, dense; repeatable."""
    share: float = 0.5
    """Share of the speakers or recordings to find names on, where none are given."""
    min_clips: int = 5
    """Clips in which a feature has to fire to be named."""
    draws: int = 1000
    """Bootstrap draws of groups behind an interval."""
    permutations: int = 200
    """Permutations of the labels behind the null."""
    seed: int = 0
    """Seed of parts, draws, permutations and controls."""


class NamedFeature(NamedTuple):
    """A feature whose name is taken as a query for clips."""

    feature: int
    name: str
    relevant: int
    """Clips with that label, R."""
    average_precision: float
    base: float
    """Share of the clips with the label, which a random order has as its average precision."""
    precision: float
    """Share of the R clips of the highest scores that have the label; recall at R is the same number."""
    precision_10: float
    """Of the ten of the highest scores."""
    recall_10: float
    """Share of the R relevant clips that are among these."""


class ControlRetrieval(NamedTuple):
    """A control, named and scored alike."""

    name: str
    mean: float
    """Mean average precision."""
    interval: Interval | None = None
    """95 %, groups drawn with replacement."""
    lead: Interval | None = None
    """95 % interval of the SAE's mean average precision less the control's, the same draws for both."""


class MeanPrecision(NamedTuple):
    """Mean average precision over the names."""

    value: float
    interval: Interval | None
    """95 %, groups drawn with replacement."""
    null: Interval | None
    """Middle 95 % with the labels of the clips permuted."""
    p: float
