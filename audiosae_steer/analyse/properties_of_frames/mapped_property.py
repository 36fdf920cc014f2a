"""Map of one property, with its scores."""

from __future__ import annotations

from dataclasses import dataclass

from .property_bins import Bins
from .property_records import ClassWeights, MapScore


@dataclass(frozen=True, kw_only=True)
class MappedProperty:
    """Map of one property, with its scores."""

    bins: Bins
    missing: float
    """Share of the held-out frames without a class: no pitch, silence, outside of the notes."""
    unseen: float
    """Share of the held-out frames with a class that no frame to fit on has."""
    majority: float
    """Accuracy of always telling the commonest class of the frames to fit on."""
    persistence: float
    """Accuracy of telling the true class of the frame before: how much neighbouring frames repeat each other."""
    map: ClassWeights
    scores: tuple[MapScore, ...]
    """Of the SAE, and of the controls."""

    @property
    def name(self) -> str:
        """pitch, loudness or centroid."""
        return self.bins.name

    @property
    def score(self) -> MapScore:
        """Of the SAE."""
        return self.scores[0]

    def of(self, name: str) -> MapScore:
        """Of a control, `dense` for instance. KeyError: it was not measured."""
        return {each.name: each for each in self.scores}[name]
