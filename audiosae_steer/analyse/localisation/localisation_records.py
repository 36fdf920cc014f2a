"""Settings of `localise`, and the records that a `Localisation` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class LocaliseSettings:
    """Settings of `localise`."""

    patch: Literal["update", "state"] = "update"
    """The source's update of a layer, added to what the base has below; or its whole state, which brings all that lies
    below along."""
    start: float | None = None
    """Second of the clips from which frames are patched; default: the beginning."""
    end: float | None = None
    """Second up to which they are; default: the end."""
    pairs: int = 20
    """Most pairs of clips."""
    C: float = 0.1
    """Inverse strength of the probe's L2 penalty."""
    share: float = 0.5
    """Share of the speakers or recordings that the probe is fitted on; pairs are of the rest."""
    draws: int = 1000
    """Bootstrap draws of groups behind an interval."""
    seed: int = 0
    """Seed of parts, pairs and draws."""


class LayerMove(NamedTuple):
    """Patching of one layer, in means over pairs; 0: as the base, 1: as the source."""

    layer: int
    move: float
    """Of the property, as the probe reads it."""
    interval: Interval | None
    """95 %, groups of the bases drawn with replacement."""
    null: float
    """The same with sources that have the base's own label."""
    null_interval: Interval | None
    excess: float
    """The move above the null."""
    excess_interval: Interval | None
    flipped: float
    """Share of the bases whose label the probe then takes for the source's."""
    output: float
    """Of the mean frame where the probe reads, whatever it moves by."""
