"""Settings of `label_search`, and the records that a `LabelSearch` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """Settings of `label_search`."""

    pool: Literal["max", "mean"] = "max"
    """Activation of a clip: the highest over its frames, or the mean."""
    least_f1: float = 0.5
    """F1 that a feature has to exceed to be kept."""
    above_base: float = 0.1
    """F1 above that of always saying yes that it has to exceed as well."""
    level: float = 0.05
    """q-value below which it is kept."""
    min_frames: int = 50
    """Frames of either part on which a feature has to fire to be seen."""
    min_clips: int = 5
    """Clips of either part in which it has to."""
    permutations: int = 1000
    """Permutations of the labels of the part report."""
    naive_permutations: int = 20
    """Permutations for the null of the count that chooses and scores on the same clips."""
    draws: int = 1000
    """Bootstrap draws of groups behind the intervals."""
    controls: tuple[str, ...] = ("dense", "random", "permuted")
    """Controls of the SAE: dense, random, permuted; repeatable."""
    seed: int = 0
    """Seed of the parts, the permutations, the draws and the controls."""


class FeatureScore(NamedTuple):
    """A feature as a detector of a label: threshold from `find`, figures from `report`."""

    feature: int
    inverse: bool
    """It fires where the label is absent: yes is an activation at or below the threshold, not above."""
    threshold: float
    find_f1: float
    """F1 on the clips that the threshold was chosen on."""
    f1: float
    interval: Interval | None
    """95 % interval of the F1, groups drawn with replacement."""
    precision: float
    recall: float
    average_precision: float
    q: float
    """Of the F1 under permuted labels, corrected for all features and labels."""
    overlap_in_time: float
    """Frames that fire in clips of the label over frames that fire or are of such clips; of inverse features, frames
    that do not fire."""


class LabelRow(NamedTuple):
    """Search of one label."""

    label: str
    find_clips: int
    """Clips of the label in `find`."""
    report_clips: int
    """And in `report`."""
    base_f1: float
    """F1 on `report` of saying yes to every clip, 2p/(1 + p)."""
    smallest_f1: float
    """Smallest F1 that could have been kept with so many clips and features."""
    best: FeatureScore
    """The feature of the highest F1 on `find`."""
    kept: tuple[FeatureScore, ...]
    """Features that are kept, the highest F1 on `report` first."""
    naive: int
    """Features with an F1 above the bound at any threshold, chosen and scored on all clips."""
    naive_null: float
    """The same with the labels permuted, the mean of all."""


class ControlRow(NamedTuple):
    """A label, searched in a control's features."""

    label: str
    best_f1: float
    """On `report`, of the feature of the highest F1 on `find`."""
    kept: int


class ControlLabels(NamedTuple):
    """A control in the SAE's place."""

    name: str
    features: int
    seen: int
    rows: tuple[ControlRow, ...]
