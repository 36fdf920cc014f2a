"""Settings of `feature_card`, and the records that a `FeatureCard` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..frame.presented import Moment
from ..phone_names.phone_sets import SILENCE, PhoneSet


@dataclass(frozen=True, kw_only=True)
class CardSettings:
    """Settings of `feature_card`."""

    top_clips: int = 6
    """Clips on which the feature is highest, one of a recording or speaker."""
    near_misses: int = 4
    """Clips on which it never fires and comes nearest to it."""
    seconds: float = 2.0
    """Length of the stretch of a clip that is shown."""
    neighbours: int = 6
    """Features that are nearest, by decoder and by co-firing each."""
    random_features: int = 100
    """Features of a random SAE, of the nearest densities, that the feature is held against; 0: none."""
    shuffles: int = 200
    """Draws of random windows, of permuted labels and of shifted frames behind the nulls."""
    effect_clips: int = 4
    """Top clips, and as many others, that are transcribed with the feature ablated and set; 0: none."""
    effect_features: int = 3
    """Other features of like density that are ablated and set as well."""
    padded_clips: int = 8
    """Clips whose padding is looked at."""
    phone_set: PhoneSet = "as-is"
    """Writing of the alignments' labels."""
    silence: tuple[str, ...] = SILENCE
    """Labels of silence; repeatable."""
    seed: int = 0
    """Seed of the parts, draws and controls."""


class PartDensity(NamedTuple):
    """Firing in one part of the clips."""

    part: str
    frames: int
    fired: int
    clips: int
    fired_clips: int

    @property
    def density(self) -> float:
        """Share of frames on which the feature fires."""
        return self.fired / max(self.frames, 1)


class Histogram(NamedTuple):
    """Activations above 0."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CardClip(Moment):
    """A stretch of a clip with the feature's activation."""

    trace: tuple[float, ...]
    """Activation on each frame of the stretch; of a near miss the score before the gate."""
    rate: float
    """Frames per second of it."""
    fires_from: float
    """Value above which the feature fires, in a near miss; 0 otherwise."""
    near_miss: bool
    """The feature does not fire in this clip."""
    caption: str = ""
    """Words of a captioner."""


class Neighbour(NamedTuple):
    """A feature that is near."""

    feature: int
    cosine: float
    """Of the decoder rows."""
    chi: float
    """Frames on which both fire over frames on which either does."""
    by: str
    """Measure that it is near by: decoder, or co-firing."""


class CardLabel(NamedTuple):
    """A label of clips, told by the feature."""

    label: str
    clips: int
    auc: float
    """Of the highest activation in a clip; below .5 it is lower in the label's clips."""
    p: float
    """Of its distance from .5, labels permuted over recordings, not corrected for the number of labels."""


class CardPhone(NamedTuple):
    """A phone among the feature's frames."""

    phone: str
    frames: int
    """Frames of the phone on which it fires."""
    purity: float
    """Share of its aligned frames."""
    lift: float
    """Over the phone's own share."""


class Place(NamedTuple):
    """Frames of one kind."""

    place: str
    """speech, other or padding."""
    frames: int
    fired: int
    p: float | None
    """Of the difference between speech and other, the firing shifted within each clip; None of padding."""

    @property
    def density(self) -> float:
        """Share of the frames on which the feature fires."""
        return self.fired / max(self.frames, 1)


class Effect(NamedTuple):
    """Change of a transcript by one edit of a feature."""

    edit: str
    """ablated, or set to its highest activation."""
    clips: str
    """top, or others."""
    clip_count: int
    words: int
    """Words without the edit."""
    changed: float
    """Words that differ over those without the edit: a word error rate against the model itself."""
    control: float | None
    """The same of other features of like density, the mean."""
    control_most: float | None
    """The most of any of them."""


class Heard(NamedTuple):
    """Transcripts of one clip."""

    clip: str
    unsteered: str
    ablated: str
    set: str


class RandomCheck(NamedTuple):
    """A measure of the feature, beside features of a random SAE that fire as often."""

    measure: str
    value: float
    median: float
    """Of the random features."""
    high: float
    """Their 95th percentile."""
    reach: float
    """Share of them that reach the feature's."""
