"""Records that a `Comparison` is made of."""

from __future__ import annotations

from typing import NamedTuple

from ..frame.intervals import Interval


class Headline(NamedTuple):
    """The number by which results of one analysis are compared."""

    measure: str
    """In words."""
    value: float | None
    """None where the analysis found none."""
    interval: Interval | None = None
    null: float | None = None
    """Its null: the 95 % point of permuted labels, or the mean of shifts, as the analysis has it."""
    controls: tuple[tuple[str, float], ...] = ()
    """The same of controls, by name."""


class Entry(NamedTuple):
    """One SAE, layer or model of the list."""

    name: str
    model: str | None
    site: str | None
    sae: str | None
    """Beginning of the SAE's sha256."""
    features: int | None
    l0: float | None
    """Features that fire on a frame, on average."""
    headline: Headline
    figures: tuple[tuple[str, str], ...]
    """All headline numbers of the result, and what they say."""


class PairedDifference(NamedTuple):
    """Two probes on the same held-out clips."""

    first: str
    second: str
    difference: float
    """Balanced accuracy of the first less the second's."""
    interval: Interval | None
    """95 %, the same draws of groups for both; None for one group."""
    only_first: int
    """Clips that the first alone tells."""
    only_second: int
    """Clips that the second alone tells."""
    p: float | None
    """McNemar's, exact, two-sided; it takes clips for independent. None where no groups are known."""
    adjusted: float | None
    """The same after Holm, over all pairs."""
