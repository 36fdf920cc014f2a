"""How often text is written where nobody speaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Share(NamedTuple):
    """A share of clips, with its 95 % interval."""

    with_text: int
    """Clips with text."""
    clips: int
    """Clips."""
    low: float
    """Lower end of the Wilson interval."""
    high: float
    """Upper end."""

    @property
    def value(self) -> float:
        """with_text / clips."""
        return self.with_text / self.clips

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def share(flags: Sequence[bool]) -> Share:
    """The share of true flags, with Wilson's score interval (Wilson, JASA 1927). No flags give a share of nothing."""
    total, count = len(flags), sum(map(bool, flags))
    if not total:
        return Share(0, 1, 0.0, 1.0)
    z = 1.959964
    p = count / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return Share(count, total, max(middle - half, 0.0), min(middle + half, 1.0))


def wrote(text: str) -> bool:
    """Whether a user would see text: any character that is not white space, a lone "." included."""
    return bool(text.strip())
