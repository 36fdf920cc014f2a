"""Settings of `trf`, and the records that a `Trf` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class TrfSettings:
    """Settings of `trf`."""

    rate: float = 128.0
    """Samples per second to which responses and features are brought."""
    high_pass: float = 1.0
    """Frequency from which the responses are kept, in Hz; 0: from the lowest on."""
    low_pass: float = 8.0
    """Frequency up to which they are kept, in Hz; 0: up to the highest."""
    lags: tuple[float, ...] = (-0.1, 0.6)
    """First and last lag of the response behind the sound, in seconds."""
    window: tuple[float, ...] = (0.0, 0.5)
    """Lags among which the peaks are looked for, in seconds."""
    penalties: tuple[float, ...] = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    """Ridge penalties to choose from, by leaving one sound out."""
    channels: tuple[str, ...] = ()
    """Channels to use, by name; none: all."""
    features: tuple[int, ...] = ()
    """Features to test; none: a random choice of those that fire often enough."""
    most: int = 100
    """Most features to test, where they are not named."""
    per_second: float = 1.0
    """Frames a second on which a feature has to fire, in each part, to be tested."""
    test: Literal["t", "signed-rank"] = "t"
    """Test of the paper's peaks."""
    shifts: int = 1000
    """Circular shifts behind each p-value."""
    least_shift: float = 10.0
    """Seconds of the smallest shift."""
    level: float = 0.05
    """Bound of corrected p-values."""
    share: float = 0.5
    """Share of the sounds to fit on."""
    draws: int = 1000
    """Bootstrap draws of subjects, or of sounds, behind the intervals."""
    controls: tuple[str, ...] = ("random",)
    """Controls of the SAE: random, permuted, dense; repeatable."""
    seed: int = 0
    """Seed of the choice, the parts, the shifts, the draws and the controls."""


class Peak(NamedTuple):
    """Extremum of a response function, found on one part and tested on the other."""

    lag: float
    """Seconds."""
    weight: float
    """Mean weight at that lag on the part that the numbers are of."""
    p: float
    """One-sided: above 0 of the maximum, below 0 of the minimum."""
    holm: float
    """Adjusted for all maxima and minima of the features."""


class ShiftTest(NamedTuple):
    """A figure beside circular shifts."""

    value: float
    interval: Interval | None
    null: float
    """Mean of the shifts."""
    null_high: float
    """Their 97.5 % point."""
    p: float
    q: float
    """Benjamini and Hochberg's, over the features."""
    family: float
    """p-value against the highest standardised figure of all features in each shift."""


class FeatureResponse(NamedTuple):
    """One feature beside the responses."""

    feature: int
    per_second: float | None
    """Frames a second on which it fires; None where that is not known."""
    highest: Peak
    lowest: Peak
    prediction: ShiftTest
    """Correlation r of predicted and true responses to other sounds."""
    gain: ShiftTest
    """Gain in r over envelope and onsets alone."""
    by_channel: tuple[float, ...]
    """r of each channel, the mean of all subjects."""
    weights: tuple[float, ...]
    """Response function (lags,) on the part to fit on, the mean of all channels and subjects."""

    @property
    def peak(self) -> Peak:
        """The extremum that stands out more; of two alike the larger weight."""
        return min((self.highest, self.lowest), key=lambda each: (each.p, -abs(each.weight)))


class DictionaryResponses(NamedTuple):
    """Features of one dictionary, counted."""

    name: str
    tested: int
    often: int
    """Features that fire often enough."""
    peaks: int
    """Features with a peak by the paper's test."""
    predicted: int
    """Features that predict responses, q below the level."""
    gaining: int
    """Features that add to envelope and onsets, q below the level."""
    gaining_family: int
    """The same, against the highest of all features."""
    mean_r: float
    mean_gain: float
    null_gain: float
    best_gain: float
