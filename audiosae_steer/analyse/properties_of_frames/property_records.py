"""Settings of `property_map`, and the records that a `PropertyMap` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval
from ..frame.part_settings import PartSettings


@dataclass(frozen=True, kw_only=True)
class PropertySettings(PartSettings):
    """Settings of `property_map`."""

    properties: tuple[str, ...] = ("pitch", "loudness", "centroid")
    """Properties to map: pitch, loudness, centroid."""
    engine: str = "swift"
    """Pitch engine: swift or crepe-tiny."""
    scale: Literal["log", "linear"] = "log"
    """Equal bins in dB and octaves (log), or in amplitude and Hz (linear), as in the paper."""
    bins: int = 20
    """Classes of loudness and of centroid."""
    lowest: int = 33
    """Lowest note, as a MIDI number."""
    highest: int = 98
    """Highest note."""
    confidence: float = 0.5
    """Confidence of the engine from which a frame has a pitch."""
    keep_unvoiced: bool = False
    """Give frames without a pitch a class of their own."""
    penalties: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    """Inverse strengths of the L2 penalty to choose among; repeatable."""
    most_frames: int = 4000
    """Frames to fit on at most, drawn evenly."""
    controls: tuple[str, ...] = ("dense", "random")
    """Dictionaries to hold the SAE against: dense, random, permuted; repeatable."""


class MapScore(NamedTuple):
    """Scores of the map from one dictionary's features to one property, on frames that it was not fitted on."""

    name: str
    """The SAE, or a control."""
    features: int
    """Features with support, which the map has weights for."""
    accuracy: float
    """Share of the frames whose class is told."""
    interval: Interval | None
    """95 %, groups drawn with replacement; None for one group."""
    null: Interval
    """Middle 95 % of the accuracy with the labels of whole clips permuted."""
    p: float
    """Share of the permutations that reach the accuracy, itself counted."""
    shifted: float
    """Accuracy with the labels shifted in time within each clip, a mean of ten shifts: what a clip's average tells."""
    within_one: float
    """Share of the frames whose class is told to one class more or less."""
    rank_corr: float | None
    """Rank correlation of the class that is told with the true one; None where one of them never varies."""
    r2: float
    """Variance of the value that ridge regression explains, on the bins' axis; below 0 it is worse than the mean."""
    C: float
    """Inverse strength of the penalty that folds by group chose."""
    lead: float | None
    """The SAE's accuracy less this one's; None of the SAE."""
    lead_interval: Interval | None
    """95 %, the same draws of groups for both."""


class ClassWeights(NamedTuple):
    """Map of one property: logits = weights·f + bias, and value = slopes·f + intercept."""

    classes: tuple[int, ...]
    """Classes that the frames to fit on have."""
    weights: tuple[tuple[float, ...], ...]
    """(classes, seen features), for activations as they are."""
    bias: tuple[float, ...]
    """(classes,)."""
    slopes: tuple[float, ...]
    """(seen features,), of ridge regression on the value."""
    intercept: float
    spread: tuple[float, ...]
    """(seen features,): standard deviation of each activation; weights times this say how much each feature matters."""
    pattern: tuple[float, ...]
    """(seen features,): change of each activation with a unit of the value, by regression of it on the value alone
    (Haufe et al. 2014, equation 6, for one source)."""
