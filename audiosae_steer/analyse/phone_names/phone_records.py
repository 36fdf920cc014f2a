"""Settings of `phones`, and the records that `Phones` are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..frame.intervals import Interval
from .phone_sets import SILENCE, PhoneSet


@dataclass(frozen=True, kw_only=True)
class PhoneSettings:
    """Settings of `phones`."""

    phone_set: PhoneSet = "as-is"
    """Writing of the labels: arpabet and ipa strip stress, sampa markers as well."""
    silence: tuple[str, ...] = SILENCE
    """Labels of silence, which counts against a feature's purity and is never a name; repeatable."""
    merge: tuple[str, ...] = ()
    """A=B: phone A counts as B; repeatable."""
    border: float = 0.0
    """Seconds from a border between labels within which frames are left out, such as 0.01."""
    least_purity: float = 0.5
    """Share of a feature's aligned frames that one phone has to exceed for its name."""
    least_lift: float = 3.0
    """Purity over the phone's own share of frames that it has to reach."""
    min_frames: int = 50
    """Aligned frames of the part find on which a feature has to fire to be seen."""
    min_clips: int = 5
    """Clips of it in which it has to."""
    share: float = 0.5
    """Share of the speakers or recordings to name on."""
    permutations: int = 200
    """Shuffles of the names behind the null."""
    shifts: int = 20
    """Circular shifts of the phones behind the number of features that get a name by chance."""
    lags: int = 5
    """Frames before and after onset and offset in the time profile."""
    probe_frames: int = 8000
    """Frames that the linear probe on the residual is fitted on, at most; 0 leaves it out."""
    draws: int = 1000
    """Bootstrap draws of groups behind the intervals."""
    controls: tuple[str, ...] = ("dense", "random", "permuted")
    """Controls of the SAE: dense, random, permuted; repeatable."""
    seed: int = 0
    """Seed of the parts, the nulls, the draws and the controls."""


class NamedFeature(NamedTuple):
    """A feature with the name of a phone."""

    feature: int
    phone: str
    frames: int
    """Aligned frames of `find` on which it fires."""
    purity: float
    """Share of them that are of the phone."""
    lift: float
    """Purity over the phone's share of all aligned frames."""
    report_frames: int
    """Aligned frames of `report` on which it fires."""
    report_purity: float | None
    """Share of them that are of the phone; None if it does not fire there."""
    recall: float | None
    """Share of the phone's frames of `report` on which it fires."""
    onset: tuple[float | None, ...]
    """Share of the phone's stretches in `report` in which it fires at each lag from their first frame on."""
    offset: tuple[float | None, ...]
    """The same from the first frame after them."""

    @property
    def holds(self) -> bool:
        """The phone fills more than half of its frames of `report` too."""
        return self.report_purity is not None and self.report_purity > 0.5


class NameScores(NamedTuple):
    """Names as a recogniser of the frames of `report` that have a phone."""

    any_match: float
    """Share of frames on which any active feature has the right name: the paper's measure."""
    any_null: float
    """The same with the names shuffled among the named features, the mean of all."""
    any_null_high: float
    """Its 97.5th percentile."""
    p: float
    """Of `any_match`."""
    excess: float
    """`any_match` − `any_null`."""
    excess_interval: Interval | None
    vote: float
    """Share of frames whose phone has the largest sum of log-lifts of the active named features; without any, wrong."""
    vote_interval: Interval | None
    vote_null: float
    """The same with the names shuffled, the mean of all."""
    macro_f1: float
    """Mean over phones of the F1 of the vote."""
    voted: float
    """Share of frames with an active named feature."""
    active: float
    """Named features that are active on a frame, on average."""


class PhoneRow(NamedTuple):
    """A phone."""

    phone: str
    find_frames: int
    report_frames: int
    features: int
    """Features that are named after it."""
    recall: float | None
    """Of the vote; None without frames in `report`."""
    precision: float | None
    best: int | None
    """The feature of the highest purity that is named after it."""


class BoundaryFeature(NamedTuple):
    """A feature that fires where one phone ends and another begins."""

    feature: int
    ratio: float
    """Density within 20 ms of a border over that elsewhere, on `find`."""
    report_ratio: float | None
    """And on `report`."""


class ControlNames(NamedTuple):
    """A control in the SAE's place."""

    name: str
    features: int
    seen: int
    named: int
    held: int
    """Names that hold on `report`."""
    boundary: int
    """Features that fire at borders."""
    scores: NameScores | None
    """None if no feature has a name."""


class Probed(NamedTuple):
    """Linear probe on the residual, the ceiling."""

    accuracy: float
    macro_f1: float
