"""Pitch, loudness and spectral centroid of the frames that a site has, measured from the sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE
from ...errors import AudioError, SteeringError
from .named_engines import pitch_engine
from .pitch_engines import Numbers, PitchEngine, midi_of

LEAST_WINDOW = 0.04
"""Seconds of the window of loudness and centroid, at least; two frames where those are longer."""
QUIETEST = -120.0
"""dB of digital silence."""
BLOCK = 512
"""Frames whose spectra are in memory at once."""


@dataclass(frozen=True)
class FrameProperties:
    """Properties of the frames of one clip, each (frames,)."""

    pitch: Numbers
    """MIDI note number, 69 being 440 Hz; NaN where the engine found nothing at all."""
    confidence: Numbers
    """Of the pitch, from 0 to 1."""
    loudness: Numbers
    """RMS in dB re full scale, −120 at the least."""
    centroid: Numbers
    """Spectral centroid in Hz; NaN in digital silence."""

    def __len__(self) -> int:
        return len(self.loudness)

    def of(self, name: str) -> Numbers:
        """The property of that name: pitch, loudness or centroid."""
        found: Numbers = getattr(self, name)
        return found


def property_labels(
    audio: NDArray[Any],
    rate: int,
    frame_rate: float,
    frames: int,
    offset: float = 0.0,
    *,
    engine: str | PitchEngine = "swift",
) -> FrameProperties:
    """Measure pitch, loudness and spectral centroid in windows centred on frames, (t + 0.5) / frame_rate + offset.

    Loudness is the RMS, and the centroid the mean frequency of the power spectrum (Hann window), of 40 ms or two
    frames, whichever is longer. A window that reaches beyond the clip counts what of it lies within.

    Args:
        audio: mono samples (n,).
        rate: their rate in Hz.
        frame_rate: frames per second.
        frames: number of frames.
        offset: seconds of the audio before the first frame begins.
        engine: `swift`, `crepe-tiny`, or a `PitchEngine`.

    Raises:
        AudioError: the audio is not mono, or not finite.
        SteeringError: the engine or the frame rate is none.
        MissingExtraError: the engine's package is not installed.
    """
    samples = np.asarray(audio, np.float64)
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise AudioError(f"audio has shape {samples.shape}; expected finite mono samples (n,), one of them at least")
    if not 0 < frame_rate < np.inf or frames < 0:
        raise SteeringError(f"{frames} frames at {frame_rate} per second cannot be labelled; expected both above 0")
    times: Numbers = (np.arange(frames, dtype=np.float64) + 0.5) / frame_rate + offset
    width = max(round(max(LEAST_WINDOW, 2 / frame_rate) * rate), 2)
    heard = pitch_engine(engine)(_at_16_khz(samples, rate), times)
    return FrameProperties(
        midi_of(heard.hz), heard.confidence,
        _loudness(samples, rate, times, width), _centroid(samples, rate, times, width),
    )  # fmt: skip


def _at_16_khz(samples: Numbers, rate: int) -> NDArray[np.float32]:
    import soxr

    if rate == SAMPLE_RATE:
        return samples.astype(np.float32)
    return np.asarray(soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ"), np.float32)


def _loudness(samples: Numbers, rate: int, times: Numbers, width: int) -> Numbers:
    total = np.r_[0.0, np.cumsum(samples**2)]
    first = np.round(times * rate).astype(np.int64) - width // 2
    low, high = (np.clip(each, 0, len(samples)) for each in (first, first + width))
    power = (total[high] - total[low]) / np.maximum(high - low, 1)
    found: Numbers = np.maximum(10 * np.log10(np.maximum(power, 1e-30)), QUIETEST)
    return found


def _centroid(samples: Numbers, rate: int, times: Numbers, width: int) -> Numbers:
    padded = np.pad(samples, (width, 2 * width))
    first = np.clip(np.round(times * rate).astype(np.int64) - width // 2 + width, 0, len(padded) - width)
    window, frequency = np.hanning(width), np.fft.rfftfreq(width, 1 / rate)
    found = np.full(len(times), np.nan)
    for start in range(0, len(times), BLOCK):
        rows = padded[first[start : start + BLOCK, None] + np.arange(width)] * window
        power = np.abs(np.fft.rfft(rows, axis=1)) ** 2
        total = power.sum(1)
        found[start : start + BLOCK] = np.where(total > 0, power @ frequency / np.where(total > 0, total, 1), np.nan)
    return found
