"""Results of discovery by contrast: labelled clips, top features and their figures on held-out clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.windows import Window
from ...evaluate.metrics.feature_ranking import Separation
from ...models.families.whisper_mel import Pad
from .settings import DiscoverSettings


class Feature(NamedTuple):
    """One feature, and its figures on clips with and without the concept."""

    number: int
    """In the SAE, counted from 0."""
    weight: float
    """Above 0 where it indicates the concept."""
    auc: float
    """Of its pooled activation alone, on held-out clips; below 0.5 it is higher without the concept."""
    mean_present: float
    """Mean pooled activation with the concept, over all clips."""
    mean_absent: float
    """Without it."""
    fires_present: float
    """Share of the clips with the concept in which it fires at all."""
    fires_absent: float
    """Of those without."""
    stability: float
    """Share of bootstrap resamples in which it is again among the top features."""


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Clips with labels, and a split by recordings. Rows are clips, once for each padding."""

    clips: tuple[Window, ...]
    """(rows,)"""
    groups: tuple[str, ...]
    """(rows,) recordings."""
    pads: tuple[Pad, ...]
    """(rows,) padding of the clip to 30 s."""
    labels: NDArray[np.bool_]
    """(rows,) true where the concept is present."""
    held: NDArray[np.bool_]
    """(rows,) true where the row is held out."""

    def groups_of(self, held: bool) -> list[str]:
        """Recordings (rows,) of the held-out rows, or of the others."""
        return [group for group, out in zip(self.groups, self.held, strict=True) if out == held]

    def tally(self, held: bool) -> tuple[int, int]:
        """Clips with and without the concept, held out or not; each once, however often it is padded."""
        rows = [(clip, flag) for clip, flag, out in zip(self.clips, self.labels, self.held, strict=True) if out == held]
        return len({clip for clip, flag in rows if flag}), len({clip for clip, flag in rows if not flag})


@dataclass(frozen=True, kw_only=True)
class ContrastResult:
    """Features that tell clips with a concept from clips without."""

    settings: DiscoverSettings
    rows: LabelledRows
    peaks: NDArray[np.float64]
    """(rows, top features) highest activations."""
    features: tuple[Feature, ...]
    """The top features, by falling weight."""
    scores: NDArray[np.float64]
    """(held-out rows,) log odds of a probe on the top features, fitted on the other rows."""
    probe: Separation
    """Separation of the two kinds by these scores."""
    random_auc: float
    """AUC of as many random features among those that fire, mean of 20 draws: chance level."""

    @property
    def best(self) -> Feature:
        """The feature that tells most by itself on held-out clips."""
        return max(self.features, key=lambda feature: abs(feature.auc - 0.5))
