"""Shares of clips, such as of non-speech with text, and their reduction, with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import SteeringError

Z = 1.959964  # of a 95 % interval


class Share(NamedTuple):
    """A share of clips, with its 95 % interval."""

    hits: int
    """Clips of which it holds."""
    clips: int
    """Clips in all."""
    low: float
    """Lower end of Wilson's interval."""
    high: float
    """Upper end."""

    @property
    def value(self) -> float:
        """hits / clips; NaN of no clips."""
        return self.hits / self.clips if self.clips else math.nan

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]" if self.clips else "no clips"


class Reduction(NamedTuple):
    """Relative reduction of a share on the same clips, with its 95 % interval."""

    before: Share
    after: Share
    value: float
    """1 − after / before: 0.9 is nine tenths rarer, below 0 is more frequent. NaN if it never happened before."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    new: int
    """Clips of which it holds only after."""

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "no change to measure" if not self.after.hits else f"{self.after.hits} where there was none"
        return f"{self.value:.1%} rarer [{self.low:.1%}, {self.high:.1%}]"


def wrote(text: str) -> bool:
    """True if a user would see text: any character that is not white space, so a lone "." too."""
    return bool(text.strip())


def share(flags: Sequence[bool]) -> Share:
    """The share of true flags, with Wilson's score interval (Wilson, JASA 1927). Of no flags it can be anything."""
    total, count = len(flags), sum(map(bool, flags))
    if not total:
        return Share(0, 0, 0.0, 1.0)
    p, shrink = count / total, 1 + Z * Z / total
    middle = (p + Z * Z / (2 * total)) / shrink
    half = Z * math.sqrt(p * (1 - p) / total + Z * Z / (4 * total * total)) / shrink
    low = 0.0 if count == 0 else middle - half
    high = 1.0 if count == total else middle + half
    return Share(count, total, low, high)


def reduction(before: Sequence[bool], after: Sequence[bool]) -> Reduction:
    """Relative reduction of true flags from `before` to `after`, clip by clip the same.

    The interval is MOVER-R from the two Wilson intervals and the flags' correlation (Tang, Li, Chan & Chan, Statistics
    in Medicine 2012; Donner & Zou, Statistical Methods in Medical Research 2012): closed, and not empty when nothing
    is left, as a bootstrap's would be.

    Raises:
        SteeringError: not as many flags before as after.
    """
    if len(before) != len(after):
        raise SteeringError(f"{len(before)} flags before and {len(after)} after: expected the same clips, in order")
    first, last = share(before), share(after)
    new = sum(bool(b) and not a for a, b in zip(before, after, strict=True))
    if not first.hits:
        return Reduction(first, last, math.nan, math.nan, math.nan, new)
    r = _correlation(first, last, new)
    least = _ratio_end(last.value, first.value, last.low, first.high, r, upper=False)
    most = _ratio_end(last.value, first.value, last.high, first.low, r, upper=True)
    value = 1 - last.value / first.value
    # where nothing changed, rounding may put an end on the wrong side of the value
    return Reduction(first, last, value, min(1 - most, value), max(1 - least, value), new)


def _ratio_end(p: float, q: float, p_end: float, q_end: float, r: float, *, upper: bool) -> float:
    """The R at which the interval of p − R·q, made of the ends of p's and q's, just touches 0."""
    if p_end == 0:
        return 0.0
    a, c = q_end * (2 * q - q_end), p_end * (2 * p - p_end)
    b = p * q + r * (p - p_end) * (q - q_end)
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b + root) / a if upper else c / (b + root)


def _correlation(first: Share, last: Share, new: int) -> float:
    both = (last.hits - new) / first.clips
    spread = math.sqrt(first.value * (1 - first.value) * last.value * (1 - last.value))
    return (both - first.value * last.value) / spread if spread else 0.0
