"""Search for the cliff: the lowest strength at which steering breaks speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .settings import BreakCriterion

STEP = 1.25
"""Factor between the strengths tried."""
FURTHEST = 4.0
"""Factor of the chosen strength at which the search ends, either way."""


class Rung(NamedTuple):
    """Cost of one strength on speech."""

    strength: float
    wer: float
    """Points of word error rate above the unsteered model's."""
    blanked: float
    """Share of the clips with speech that lost all their text."""


class Cliff(NamedTuple):
    """Lowest strength at which speech breaks, and the strengths tried."""

    strength: float | None
    """Lowest strength tried that breaks speech; None if none did."""
    highest: float
    """Highest strength tried."""
    rungs: tuple[Rung, ...]
    """Every strength tried, ascending."""

    def margin(self, strength: float) -> float:
        """Ratio of the cliff to `strength`; a lower bound where no cliff was found."""
        return (self.highest if self.strength is None else self.strength) / strength

    def __str__(self) -> str:
        return f"none up to {self.highest:g}" if self.strength is None else f"{self.strength:g}"


def find_cliff(
    cost: Callable[[float], tuple[float, float]],
    start: float,
    limit: BreakCriterion,
    *,
    step: float = STEP,
    furthest: float = FURTHEST,
) -> Cliff:
    """Raise the strength from `start` by factors of `step` until speech breaks, or to `furthest` times `start`.

    If speech breaks at `start` already, the strength is lowered until it does not.

    Args:
        cost: from a strength to points of word error rate above the unsteered model's, and the share of clips blanked.
        start: strength to begin at.
        limit: cost above which speech counts as broken.
        step: factor between strengths, above 1.
        furthest: factor at which to stop, either way.
    """

    def rung(factor: float) -> Rung:
        strength = start if factor == 1 else round(start * factor, 6)
        return Rung(strength, *cost(strength))

    rungs = [rung(1.0)]
    down = is_broken(rungs[0], limit)
    factor = 1.0
    while factor < furthest:
        factor = min(factor * step, furthest)
        rungs.append(rung(1 / factor if down else factor))
        if is_broken(rungs[-1], limit) != down:
            break
    rungs.sort()
    lowest = next((each.strength for each in rungs if is_broken(each, limit)), None)
    return Cliff(lowest, rungs[-1].strength, tuple(rungs))


def is_broken(rung: Rung, limit: BreakCriterion) -> bool:
    """Test whether the cost is above the limit."""
    return rung.wer > limit.wer or rung.blanked > limit.blanked
