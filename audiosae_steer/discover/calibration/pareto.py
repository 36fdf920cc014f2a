"""Selection among candidates: Pareto fronts, successive halving, and a budget."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from ...errors import SteeringError
from .settings import Budget

LEAST = 4
"""Candidates of each group that halving leaves."""


class Score(NamedTuple):
    """Effect and cost of a candidate."""

    text: float
    """Share of the clips without speech for which text is written."""
    wer: float
    """Word error rate above the unsteered model's, in points."""
    blanked: float
    """Share of the clips with speech that lost all their text."""
    wer_low: float
    """Lower end of the interval of `wer`."""
    blanked_low: float
    """Lower end of the interval of `blanked`."""


def excess(score: Score, budget: Budget) -> float:
    """Points by which a candidate is over the budget, word errors and blanked clips together; 0 within it."""
    return _over(score.wer, score.blanked, budget)


def sure_excess(score: Score, budget: Budget) -> float:
    """As `excess`, of the intervals' lower ends: the part that chance does not explain."""
    return _over(score.wer_low, score.blanked_low, budget)


def _over(wer: float, blanked: float, budget: Budget) -> float:
    # a rate that equals the budget keeps it, whatever its last binary digit
    over = max(wer - budget.wer, 0.0) + 100 * max(blanked - budget.blanked, 0.0)
    return over if over > 1e-9 else 0.0


def front(scores: Sequence[Score]) -> list[int]:
    """Indices of the Pareto front in (text, wer), by rising text; of equal scores the first."""
    order = sorted(range(len(scores)), key=lambda i: (scores[i].text, scores[i].wer, i))
    found: list[int] = []
    for i in order:
        if not found or scores[i].wer < scores[found[-1]].wer:
            found.append(i)
    return found


def layers(scores: Sequence[Score]) -> list[int]:
    """Rank of each score's front: 0 for the front, 1 for the front of the rest, and so on."""
    ranks = [0] * len(scores)
    left, rank = list(range(len(scores))), 0
    while left:
        own = {left[i] for i in front([scores[i] for i in left])}
        # equals share a front
        values = {(scores[i].text, scores[i].wer) for i in own}
        own |= {i for i in left if (scores[i].text, scores[i].wer) in values}
        for i in own:
            ranks[i] = rank
        left = [i for i in left if i not in own]
        rank += 1
    return ranks


def better_half(
    scores: Sequence[Score], budget: Budget, groups: Sequence[Hashable] | None = None, *, least: int = LEAST
) -> list[int]:
    """Indices that a round of successive halving keeps (Jamieson & Talwalkar, AISTATS 2016), ascending.

    Candidates that are over the budget by more than chance explains come last; then counts the rank of their front,
    then the text they leave. Half of each group is kept, and at least `least`.
    """
    ranks = layers(scores)
    named = [None] * len(scores) if groups is None else list(groups)
    kept: list[int] = []
    for group in dict.fromkeys(named):
        own = [i for i, name in enumerate(named) if name == group]
        own.sort(key=lambda i: (sure_excess(scores[i], budget), ranks[i], scores[i].text, scores[i].wer, i))
        kept += own[: max(math.ceil(len(own) / 2), min(least, len(own)))]
    return sorted(kept)


def rounds(absent: int, present: int, first: int) -> list[tuple[int, int]]:
    """Numbers of clips without and with speech in every round: `first` of each, doubled until all are included."""
    if first < 1:
        raise SteeringError(f"the first round sees {first} clips of each kind; expected 1 or more")
    found = [(min(first, absent), min(first, present))]
    while found[-1] != (absent, present):
        first *= 2
        found.append((min(first, absent), min(first, present)))
    return found


def within(scores: Sequence[Score], budget: Budget, unsteered: float) -> list[int]:
    """Indices of the scores that keep the budget and leave less text than the unsteered model."""
    return [i for i, score in enumerate(scores) if excess(score, budget) == 0 and score.text < unsteered]


def nearest(scores: Sequence[Score], budget: Budget) -> int:
    """Index of the score that is least over the budget, and of those the one that leaves the least text."""
    return min(range(len(scores)), key=lambda i: (excess(scores[i], budget), scores[i].text, scores[i].wer, i))


def contenders(scores: Sequence[Score], allowed: Sequence[int], near: float) -> list[int]:
    """Of the allowed indices, the one on the front with the least text, then all within `near` points of its text."""
    if not allowed:
        return []
    best = allowed[front([scores[i] for i in allowed])[0]]
    limit = scores[best].text + near / 100 + 1e-9
    rest = [i for i in allowed if i != best and scores[i].text <= limit]
    return [best, *sorted(rest, key=lambda i: (scores[i].text, scores[i].wer, i))]
