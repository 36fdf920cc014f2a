"""Partial indices: what one or more clips say of every feature. They merge exactly, in any order and grouping."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...errors import SteeringError
from .clip_coding import Coding, Peaks, Tally, firing_rows, near_rows, peaks_of
from .example_candidates import Candidates, empty, joined, keep, nearest
from .index_corpus import IndexClip
from .index_settings import IndexFacts


class Media(NamedTuple):
    """Sound and picture of a clip, encoded."""

    flac: bytes | None
    """None where no sound is kept."""
    png: bytes


class PartialClip(NamedTuple):
    """A clip that is in a partial index."""

    about: IndexClip
    seconds: float
    """Its length."""
    media: Callable[[], Media]
    """Reads its sound and picture, which may be on disk."""


class PartialLayer(NamedTuple):
    """One layer of a partial index."""

    tally: Tally
    fired: Candidates
    near: Candidates
    peaks: dict[int, Peaks]
    """By the key of the clip."""


@dataclass(frozen=True)
class PartialIndex:
    """Findings of some of the clips of an index."""

    facts: IndexFacts
    clips: dict[int, PartialClip]
    """By key."""
    layers: dict[int, PartialLayer]

    @classmethod
    def none(cls, facts: IndexFacts) -> PartialIndex:
        """The index of no clip."""
        layers = {each.layer: PartialLayer(Tally.none(each.features), empty(), empty(), {}) for each in facts.layers}
        return cls(facts, {}, layers)

    def in_order(self) -> list[PartialClip]:
        """The clips by recording and start."""
        return sorted(self.clips.values(), key=lambda clip: clip.about[:2])


class LayerCollector:
    """Collection of one layer's findings, clip after clip."""

    def __init__(self, features: int, top: int, each: int) -> None:
        self._features, self._top, self._each = features, top, each
        self._tally = Tally.none(features)
        self._fired: list[Candidates] = []
        self._near: list[Candidates] = []
        self._peaks: dict[int, Peaks] = {}
        self._nearest = np.full((features, max(each, 1)), -np.inf, np.float32)

    def add(self, coding: Coding, clip: int) -> None:
        """Add a clip of that key."""
        self._tally = self._tally.plus(Tally.of(coding, self._features))
        self._peaks[clip] = peaks_of(coding)[0]
        self._fired.append(firing_rows(coding, clip))
        if self._each:
            # what is worse than `each` near misses before it can never be one: its curve need not be made
            self._near.append(near_rows(coding, clip, self._nearest[:, 0]))
            better = np.maximum(self._nearest[:, 0], coding.margin)
            self._nearest[:, 0] = better
            self._nearest.sort(axis=1)

    def layer(self) -> PartialLayer:
        """Findings of the clips that were added."""
        fired = keep(joined(self._fired), self._top, self._each)
        return PartialLayer(self._tally, fired, nearest(joined(self._near), self._each), self._peaks)


def merged(parts: Iterable[PartialIndex]) -> PartialIndex:
    """All parts as one. The result depends on their clips alone, not on their order, nor on how they were grouped.

    Raises:
        SteeringError: there are none, they are of different models, SAEs or settings, or have a clip in common.
    """
    found: PartialIndex | None = None
    for part in parts:
        found = part if found is None else _both(found, part)
    if found is None:
        raise SteeringError("there are no partial indices to merge; name at least one")
    return found


def _both(one: PartialIndex, other: PartialIndex) -> PartialIndex:
    if one.facts != other.facts:
        raise SteeringError(
            "these partial indices are of different models, SAEs or settings, and are no parts of one index; build "
            "them by the same command, over other audio"
        )
    twice = one.clips.keys() & other.clips.keys()
    if twice:
        clip = one.clips[min(twice)].about
        raise SteeringError(
            f"{clip.recording} at {clip.start:g} s is in both of these partial indices ({len(twice)} such clips); "
            "merge parts that have no clip in common"
        )
    top, each = int(one.facts.settings["top"]), int(one.facts.settings["each"])
    layers = {}
    for number, own in one.layers.items():
        its = other.layers[number]
        layers[number] = PartialLayer(
            own.tally.plus(its.tally),
            keep(joined([own.fired, its.fired]), top, each),
            nearest(joined([own.near, its.near]), each),
            own.peaks | its.peaks,
        )
    return PartialIndex(one.facts, one.clips | other.clips, layers)
