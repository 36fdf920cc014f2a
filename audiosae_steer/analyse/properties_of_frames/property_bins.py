"""Classes of a property: bins whose edges come from the part `find`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from .frame_properties import QUIETEST, FrameProperties
from .pitch_engines import Numbers
from .property_records import PropertySettings

Kinds = NDArray[np.int64]
PROPERTIES = ("pitch", "loudness", "centroid")
UNITS = {"pitch": "MIDI note", "loudness": "dB", "centroid": "Hz"}
SILENCE = -60.0
"""dB re the loud end of the clips below which a frame has no pitch and no centroid."""
LOUD = 99.0
"""Percentile of the frames' loudness that is 0 dB."""
CENTROIDS = (100.0, 8000.0)
"""Hz of the lowest and the highest edge."""


class Bins(NamedTuple):
    """Classes of one property."""

    name: str
    """pitch, loudness or centroid."""
    edges: tuple[float, ...]
    """(classes + 1,) edges on the axis: MIDI notes; dB re `reference`, or amplitudes over it; log2 of Hz, or Hz."""
    reference: float
    """dB re full scale of the loud end of the clips."""
    linear: bool
    """The papers' scale: amplitude in place of dB, Hz in place of octaves."""
    confidence: float
    """Of the pitch, from which a frame has one."""
    unvoiced: bool
    """Frames without a pitch are a class of their own, the last."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.edges) - 1 + self.unvoiced

    def values(self, found: FrameProperties) -> Numbers:
        """The property (frames,) on the bins' axis, NaN where it is missing."""
        level = found.loudness - self.reference
        if self.name == "loudness":
            quiet = np.maximum(level, SILENCE)
            return np.asarray(10 ** (quiet / 20)) if self.linear else quiet
        heard = level >= SILENCE
        if self.name == "pitch":
            value = np.where(found.confidence >= self.confidence, found.pitch, np.nan)
            within = (value >= self.edges[0]) & (value < self.edges[-1])
            return np.where(heard & within, value, np.nan)
        low, high = CENTROIDS
        hz = np.clip(found.centroid, low, high)
        return np.where(heard, hz if self.linear else np.log2(hz), np.nan)

    def kinds(self, found: FrameProperties) -> Kinds:
        """Class (frames,) of each frame, −1 where it has none."""
        value = self.values(found)
        kinds = np.clip(np.searchsorted(self.edges, value, side="right") - 1, 0, len(self.edges) - 2)
        missing = np.isnan(value)
        if not self.unvoiced:
            return np.where(missing, -1, kinds)
        voiceless = missing & (found.confidence < self.confidence) & (found.loudness - self.reference >= SILENCE)
        return np.where(voiceless, len(self.edges) - 1, np.where(missing, -1, kinds))

    def class_at(self, value: float) -> int:
        """Class of a value in natural units: a MIDI note, dB re the reference, Hz.

        Raises:
            SteeringError: no class has it.
        """
        place = self.on_axis(value)
        if not self.edges[0] <= place <= self.edges[-1]:
            low, high = (self.natural(edge) for edge in (self.edges[0], self.edges[-1]))
            raise SteeringError(
                f"{self.name} {value:g} is outside of the classes, {low:.4g} to {high:.4g} {UNITS[self.name]}"
            )
        return min(int(np.searchsorted(self.edges, place, side="right")) - 1, len(self.edges) - 2)

    def on_axis(self, value: float) -> float:
        """A value in natural units on the axis."""
        if self.name == "loudness" and self.linear:
            return float(10 ** (value / 20))
        return float(np.log2(max(value, 1e-9))) if self.name == "centroid" and not self.linear else float(value)

    def natural(self, place: float) -> float:
        """A place on the axis in natural units."""
        if self.name == "loudness" and self.linear:
            return float(20 * np.log10(max(place, 1e-9)))
        return float(2**place) if self.name == "centroid" and not self.linear else float(place)

    def middle(self, kind: int) -> float:
        """Middle of a class, in natural units."""
        return self.natural((self.edges[kind] + self.edges[kind + 1]) / 2)


def bins_of(name: str, found: Sequence[FrameProperties], settings: PropertySettings) -> Bins:
    """Bins of a property from clips to fit on.

    Raises:
        SteeringError: the property is unknown, or all clips are silent.
    """
    if name not in PROPERTIES:
        raise SteeringError(f"property {name!r} is unknown; expected some of {', '.join(PROPERTIES)}")
    loudness = np.concatenate([each.loudness for each in found]) if found else np.zeros(0)
    sounding = loudness[loudness > QUIETEST]
    if not len(sounding):
        raise SteeringError("all of these clips are silent; give clips that have sound")
    reference = float(np.percentile(sounding, LOUD))
    linear = settings.scale == "linear"
    if name == "pitch":
        edges = np.arange(settings.lowest, settings.highest + 2) - 0.5
    elif name == "loudness":
        edges = np.linspace(10 ** (SILENCE / 20), 1, settings.bins + 1) if linear else \
            np.linspace(SILENCE, 0, settings.bins + 1)  # fmt: skip
    else:
        low, high = CENTROIDS if linear else np.log2(CENTROIDS)
        edges = np.linspace(low, high, settings.bins + 1)
    return Bins(
        name, tuple(float(f"{edge:.10g}") for edge in edges), float(f"{reference:.10g}"), linear,
        settings.confidence, settings.keep_unvoiced and name == "pitch",
    )  # fmt: skip
