"""Settings of `erasure`, and the records that an `Erasure` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval
from ..frame.part_settings import PartSettings
from ..probes.probe_records import Pool


@dataclass(frozen=True, kw_only=True)
class ErasureSettings(PartSettings):
    """Settings of `erasure`."""

    concepts: tuple[str, ...] = ()
    """Labels of other concepts, to see what they lose; repeatable; the labels that are left are background."""
    background: tuple[str, ...] = ()
    """Labels of clips without any concept; repeatable; default: those that are not concepts."""
    mode: Literal["open", "closed"] = "open"
    """The concept against a background, or the paper's: one regression for all concepts, without a background."""
    ks: tuple[int, ...] = ()
    """Numbers of features to remove; default: 1, 2, 5, 10, 20 and so on; more are tried where the concept goes."""
    pool: Pool = "max"
    """Activation of a clip: its highest, its mean, or its mean over frames on which the feature fires."""
    margin: float = 0.05
    """Erased is what has the upper end of its interval at most so far above chance."""
    penalties: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0)
    """Inverse strengths of the L2 penalty to choose among; repeatable."""
    nonlinear: tuple[str, ...] = ("rbf", "boosting")
    """Probes that try again where the linear one fails: rbf, boosting; repeatable."""
    random_orders: int = 5
    """Random orders to hold the ranking against."""
    controls: tuple[str, ...] = ("dense",)
    """Dictionaries to hold the SAE against: dense, random, permuted; repeatable."""


class Scored(NamedTuple):
    """Score of a probe on clips that it was not fitted on: area under the ROC curve; in closed mode MCC."""

    score: float
    interval: Interval | None
    """95 %, groups drawn with replacement; None for one group."""
    null: Interval | None
    """Middle 95 % of the scores with the labels permuted."""
    p: float
    """Share of the permutations that reach the score, itself counted."""

    @property
    def upper(self) -> float:
        """Upper end of the interval; of one group the score itself."""
        return self.score if self.interval is None else self.interval.high


class ErasurePoint(NamedTuple):
    """Scores without the k features that tell the concept best."""

    k: int
    concept: Scored
    others: tuple[float, ...]
    """Scores of the other concepts."""
    C: float | None
    """Inverse strength of the penalty that grouped folds chose."""


class RandomRemoval(NamedTuple):
    """Scores without k features in random order."""

    k: int
    score: float
    """Mean over the orders."""
    least: float
    """Of all orders."""


class ControlErasure(NamedTuple):
    """Erasure from a control, its features ranked alike."""

    name: str
    seen: int
    points: tuple[ErasurePoint, ...]
    erased_k: int | None


class InputScore(NamedTuple):
    """Score of a probe on something else than the features."""

    name: str
    scored: Scored


def erased_from(points: tuple[ErasurePoint, ...], bound: float) -> int | None:
    """Smallest k whose upper bound is at most `bound`, and after which no score is above it; None if there is none.

    Of later scores only themselves count: of many intervals about chance some reach further by chance. The last point,
    at which no feature is left, shows nothing.
    """
    found = None
    for point in reversed(points[:-1]):
        if point.concept.score > bound:
            break
        if point.concept.upper <= bound:
            found = point.k
    return found
