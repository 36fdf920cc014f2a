"""Settings of `probe`, and the records that a `ProbeCurve` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval
from ..frame.part_settings import PartSettings

Pool = Literal["max", "mean", "nonzero_mean"]


@dataclass(frozen=True, kw_only=True)
class ProbeSettings(PartSettings):
    """Settings of `probe`."""

    ks: tuple[int, ...] = ()
    """Numbers of features; default: 1, 2, 5, 10, 20 and so on up to all."""
    pool: Pool = "max"
    """Activation of a clip: its highest, its mean, or its mean over frames on which the feature fires."""
    space: Literal["features", "reconstruction"] = "features"
    """Input of the probe: the features, or what their decoder rows make of them, without the error."""
    penalties: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    """Inverse strengths of the L2 penalty to choose among; repeatable."""
    unpenalised: bool = True
    """Let no penalty be among them, which is what the paper has."""
    random_orders: int = 20
    """Random orders to hold the ranking against."""
    controls: tuple[str, ...] = ("dense", "random")
    """Dictionaries to hold the SAE against: dense, random, permuted; repeatable."""


class ProbePoint(NamedTuple):
    """Score of a probe on some of the features, on clips that it was not fitted on."""

    k: int
    """Features that it has, or that were taken from it."""
    score: float
    """Balanced accuracy."""
    interval: Interval | None
    """95 %, groups drawn with replacement; None for one group."""
    null: Interval | None
    """Middle 95 % of the scores with the labels permuted."""
    p: float
    """Share of the permutations that reach the score, itself counted."""
    auc: float | None
    """Area under the ROC curve, of two classes."""
    C: float | None
    """Inverse strength of the penalty that grouped folds chose; None: no penalty."""


class RandomOrder(NamedTuple):
    """Scores on as many features in random orders."""

    k: int
    top: float
    """Balanced accuracy with these alone, the mean over the orders."""
    top_range: Interval
    """Middle 95 % of the orders."""
    unlearned: float
    """Without these."""
    unlearned_range: Interval


class Curves(NamedTuple):
    """Both curves of one dictionary."""

    full: ProbePoint
    """All features."""
    top: tuple[ProbePoint, ...]
    """The k best alone."""
    unlearned: tuple[ProbePoint, ...]
    """Without the k best; the first is k = 0."""


class ControlCurves(NamedTuple):
    """Curves of a control, and the SAE's lead over it."""

    name: str
    seen: int
    """Features of it that have support."""
    curves: Curves
    lead: float
    """Score of the SAE's features less the control's, of all features each."""
    lead_interval: Interval | None
    """95 %, the same draws of groups for both."""


class Told(NamedTuple):
    """Guesses of the probe on all features, clip by clip, for paired comparisons."""

    clips: tuple[int, ...]
    """Number of each held-out clip in the data."""
    groups: tuple[str, ...]
    """Its speaker or recording."""
    truth: tuple[int, ...]
    """Its class."""
    guessed: tuple[int, ...]
    """The class that it is taken for."""


def saturation_of(full: ProbePoint, top: tuple[ProbePoint, ...], chance: float, share: float = 0.95) -> int | None:
    """Smallest k whose score reaches so much of the full score above chance; None where that is at chance itself."""
    if _at_chance(full, chance):
        return None
    bound = chance + share * (full.score - chance)
    return next((point.k for point in (*top, full) if point.score >= bound), None)


def erased_of(unlearned: tuple[ProbePoint, ...], chance: float) -> int | None:
    """Smallest k without which the interval includes chance, 0 if it does from the start; None where it never does."""
    return next((point.k for point in unlearned if _at_chance(point, chance)), None)


def _at_chance(point: ProbePoint, chance: float) -> bool:
    """Tell whether a score is not above chance: by its interval, with one group only by its null."""
    if point.interval is not None:
        return point.interval.low <= chance
    return point.null is None or point.score <= point.null.high
