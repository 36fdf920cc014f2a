"""The cliff: the strength at which steering begins to cost words."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

STEP = 1.25
FURTHEST = 4.0
"""Times the chosen strength, where the search ends."""


class Break(NamedTuple):
    """When speech counts as broken."""

    wer: float = 1.0
    """More points of word error rate than this above the unsteered model."""
    blanked: float = 0.02
    """Or more than this share of the clips with speech blanked."""


class Rung(NamedTuple):
    """What a strength does to speech."""

    strength: float
    wer: float
    """Points of word error rate above the unsteered model."""
    blanked: float
    """Share of the clips with speech that lost all their text."""


class Cliff(NamedTuple):
    """Where speech breaks."""

    strength: float | None
    """The first strength tried that breaks it; None if none did."""
    highest: float
    """The highest strength tried."""
    rungs: tuple[Rung, ...]
    """All that were tried, by rising strength."""

    def margin(self, strength: float) -> float:
        """How many times `strength` the cliff is away; at least that many where none was found."""
        return (self.highest if self.strength is None else self.strength) / strength

    def __str__(self) -> str:
        return f"none up to {self.highest:g}" if self.strength is None else f"{self.strength:g}"


def find_cliff(
    speech: Callable[[float], tuple[float, float]],
    start: float,
    limit: Break,
    *,
    step: float = STEP,
    furthest: float = FURTHEST,
) -> Cliff:
    """Raise the strength from `start` by factors of `step` until speech breaks, or to `furthest` times `start`.

    Where it breaks at `start` already, the strength is lowered instead until it does not: the cliff is the lowest that
    breaks it.

    Args:
        speech: from a strength to points of word error rate above unsteered, and the share of clips blanked.
        start: the strength to begin at.
        limit: what counts as broken.
        step: factor between strengths, above 1.
        furthest: factor at which to stop, either way.
    """

    def rung(factor: float) -> Rung:
        strength = start if factor == 1 else round(start * factor, 6)
        return Rung(strength, *speech(strength))

    rungs = [rung(1.0)]
    down = broken(rungs[0], limit)
    factor = 1.0
    while factor < furthest:
        factor = min(factor * step, furthest)
        rungs.append(rung(1 / factor if down else factor))
        if broken(rungs[-1], limit) != down:
            break
    rungs.sort()
    lowest = next((one.strength for one in rungs if broken(one, limit)), None)
    return Cliff(lowest, rungs[-1].strength, tuple(rungs))


def broken(rung: Rung, limit: Break) -> bool:
    """Whether speech counts as broken."""
    return rung.wer > limit.wer or rung.blanked > limit.blanked
