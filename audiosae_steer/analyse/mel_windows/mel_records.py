"""Settings of `mel_patterns`, and the record of one feature's pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval

Map = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, kw_only=True)
class MelSettings:
    """Settings of `mel_patterns`."""

    seconds: float = 1.0
    """Length of a window, centred at a peak of the activation."""
    apart: float = 0.5
    """Seconds between two peaks of a clip, at least."""
    per_clip: int = 5
    """Peaks of a clip, at most."""
    most: int = 200
    """Peaks of a feature, at most, the highest ones."""
    weight: Literal["one", "activation"] = "one"
    """Weight of a window in the mean: each alike, or by its peak's activation."""
    least: int = 5
    """Peaks that a feature needs for a pattern."""
    shuffles: int = 200
    """Draws of windows at random frames of the same clips."""
    controls: tuple[str, ...] = ("random",)
    """Controls of the SAE, whose feature of the same number is looked at: random, permuted; repeatable."""
    seed: int = 0
    """Seed of the draws and the controls."""


class MelPattern(NamedTuple):
    """Mean log-mel window around the peaks of a feature's activation, beside that around random frames."""

    feature: int
    dictionary: str
    """SAE, or the control that the feature is of."""
    windows: int
    clips: int
    """Clips that windows are of."""
    mean: Map
    """(80 bands, columns) in Whisper's units: .25 is 10 dB; None where no window has sound."""
    difference: Map
    """The same minus that of windows at random frames of the same clips."""
    z: Map
    """The difference over the standard deviation of such random means."""
    beyond: float
    """Share of cells beyond ±3.29, where .001 is expected of noise."""
    beyond_null: float
    """The same of the random draws, on average."""
    p: float
    """Of the largest deviation of any cell, against that of the random draws."""
    peak_ms: float
    """Time of the largest difference; below 0, before the feature's peak."""
    peak_hz: float
    """Frequency of the band that it is in."""
    asymmetry: float
    """(right − left) / (right + left) of the energy after and before the peak, the mean over windows."""
    asymmetry_null: Interval | None
    """95 % of that of the random draws."""
    asymmetry_p: float
    """Of its distance from the mean of the draws."""

    @property
    def side(self) -> str:
        """Side of the peak that the energy is on beyond chance: before, after, or neither."""
        null = self.asymmetry_null
        if null is None or null.low <= self.asymmetry <= null.high:
            return "neither"
        return "after" if self.asymmetry > null.high else "before"
