"""Settings of fitting gates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClipGateSettings:
    """Fitting a clip gate and placing its threshold."""

    margin: float = 0.2
    """Position of the threshold, from the highest score of speech (0) to the median score of non-speech (1)."""
    budget: float = 0.01
    """Share of the clips with speech that may lie above the threshold: of brief, soft and noisy stretches, some hold no
    speech at all, and one of them should not decide where it goes."""
    max_features: int = 64
    """Most features that the gate may read."""
    seed: int = 0
    """Seed of the solver."""


@dataclass(frozen=True, kw_only=True)
class FrameGateSettings:
    """Fitting a frame gate and placing its threshold."""

    margin: float = 0.2
    """Position of the threshold, from the highest score of speech (0) to the median score of non-speech (1)."""
    budget: float = 0.002
    """Share of the frames with speech that may lie above the threshold."""
    max_features: int = 48
    """Most features that the gate may read."""
    seed: int = 0
    """Seed of the solver, and of which frames and sounds are taken."""
    reach: float = 0.5
    """Seconds that a frame looks either way."""
    per_clip: int = 8
    """Most frames of each kind to take of a clip, at random."""


@dataclass(frozen=True, kw_only=True)
class TimestampGateSettings:
    """Fitting a timestamp gate and placing its threshold."""

    budget: float = 0.05
    """Share of the frames with speech that may lie above the threshold."""
    max_features: int = 64
    """Most features that the gate may read."""
    seed: int = 0
    """Seed of the solver, and of which frames are taken."""
    reach: float = 0.2
    """Seconds that a frame looks either way."""
    least_speech: float = 0.5
    """Seconds of speech, reach included, below which it counts as none."""
    least_gap: float = 1.0
    """Seconds without speech, less the reach, below which they count as a pause."""
    per_window: int = 60
    """Most frames of each kind to take of a window, at random."""
