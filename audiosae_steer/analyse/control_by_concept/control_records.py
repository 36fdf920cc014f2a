"""Settings of `control_report`, and the records that a `ControlReport` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..frame.intervals import Interval
from ..properties_of_frames.pitch_engines import PitchEngine


@dataclass(frozen=True, kw_only=True)
class ControlSettings:
    """Settings of `control_report`."""

    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0)
    """Amounts to try; repeatable."""
    keep: Literal["rms"] | None = None
    """Keep the RMS of the edited features."""
    mode: Literal["add", "toward"] = "add"
    """A constant amount, or for each frame as much as it takes."""
    margin: float = 1.0
    """Logits by which the class is to lead, with toward."""
    engine: str | PitchEngine = "swift"
    """Pitch engine that measures the sound: swift, crepe-tiny, or one's own, of which results keep the name."""
    references: int = 2000
    """Latents to find the nearest among."""
    draws: int = 1000
    """Bootstrap draws of groups behind an interval."""
    seed: int = 0
    """Seed of the random direction and the draws."""


class Shift(NamedTuple):
    """Change of one property, from the sound of the unedited latents to that of the edited ones."""

    name: str
    """pitch, loudness or centroid."""
    before: float | None
    """Median over frames on which both sounds have it, on the bins' axis; None where there is none."""
    after: float | None
    change: float | None
    """Mean change of a frame."""
    deviations: float | None
    """The change in standard deviations of the unedited sound's frames."""
    lost: float
    """Share of the frames that had the property and have it no more: no pitch, silence."""


class ControlPoint(NamedTuple):
    """Sound at one amount, by one way of changing it."""

    arm: str
    """edit, random (a direction drawn at random), means (difference of class means) or dsp (signal processing)."""
    alpha: float
    reached: float
    """Share of the frames, of those with the property before, that are in the target's class."""
    reached_interval: Interval | None
    """95 %, groups drawn with replacement; None for one group."""
    shifts: tuple[Shift, ...]
    """Of the target's property first, then of the others."""
    size: float
    """Mean norm of the latents' change over that of the latents."""
    distance: float | None
    """Mean squared distance of the edited latents to the nearest reference over the references' variance; None of
    signal processing."""
    clipped: float
    """Share of the samples beyond full scale."""
    unchanged: float
    """Share of the frames whose latents did not change at all."""
