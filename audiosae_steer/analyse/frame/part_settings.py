"""Settings that the analyses share which fit on one part of the groups and report on the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PartSettings:
    """Parts, least support, and what intervals and nulls are made of.

    Fields of a subclass come before these in results and in the command's help.
    """

    share: float = 0.5
    """Share of the speakers or recordings to rank and fit on; the rest is reported on."""
    min_frames: int = 50
    """Frames of that share on which a feature has to fire to be counted."""
    min_clips: int = 5
    """Clips in which it has to."""
    draws: int = 1000
    """Bootstrap draws of groups behind an interval."""
    permutations: int = 200
    """Permutations of labels, attributes or clips behind a null."""
    seed: int = 0
    """Seed of parts, folds, orders, draws, permutations and controls."""
