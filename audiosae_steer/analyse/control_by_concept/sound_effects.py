"""Signal processing that moves a property of a sound directly: the ceiling of what an edit could reach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra

Sound = NDArray[np.float64]
WINDOW = 1024
HOP = 128


def processed(name: str, samples: NDArray[Any], rate: int, by: float) -> Sound:
    """The sound with a property moved: pitch by semitones, loudness by dB, the centroid by octaves.

    Args:
        name: pitch, loudness or centroid.
        samples: (n,).
        rate: Hz.
        by: amount.

    Returns:
        (n,) samples.
    """
    sound = np.asarray(samples, np.float64)
    if name == "loudness":
        return np.asarray(sound * 10 ** (by / 20))
    return pitch_shifted(sound, by) if name == "pitch" else tilted(sound, rate, by)


def pitch_shifted(samples: Sound, semitones: float) -> Sound:
    """The sound at another pitch and of the same length: a phase vocoder (Flanagan and Golden 1966), and resampling."""
    signal = import_extra("scipy.signal")
    ratio = 2 ** (semitones / 12)
    if abs(semitones) < 1e-6 or len(samples) < 2 * WINDOW:
        return samples
    _, _, spectrum = signal.stft(samples, nperseg=WINDOW, noverlap=WINDOW - HOP)
    steps = np.arange(0, spectrum.shape[1] - 1, 1 / ratio)
    expected = 2 * np.pi * HOP * np.arange(spectrum.shape[0]) / WINDOW
    left = steps.astype(np.int64)
    part = steps - left
    size = (1 - part) * np.abs(spectrum[:, left]) + part * np.abs(spectrum[:, left + 1])
    turned = np.angle(spectrum[:, left + 1]) - np.angle(spectrum[:, left]) - expected[:, None]
    advance = expected[:, None] + np.angle(np.exp(1j * turned))
    phase = np.angle(spectrum[:, :1]) + np.concatenate([np.zeros((len(expected), 1)), np.cumsum(advance[:, :-1], 1)], 1)
    _, longer = signal.istft(size * np.exp(1j * phase), nperseg=WINDOW, noverlap=WINDOW - HOP)
    found: Sound = np.interp(np.arange(len(samples)) * ratio, np.arange(len(longer)), longer, right=0.0)
    return found


def tilted(samples: Sound, rate: int, octaves: float) -> Sound:
    """The sound with its spectrum tilted until its centroid is so many octaves higher, of the same power."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / rate)
    power, axis = np.abs(spectrum) ** 2, np.log2(np.maximum(frequency, 20) / 1000)
    total = float(power.sum())
    if not total:
        return samples
    wanted = float(power @ frequency / total) * 2**octaves

    def centroid(slope: float) -> float:
        weighed = power * 2 ** (2 * slope * axis)
        return float(weighed @ frequency / weighed.sum()) - wanted

    low, high = -12.0, 12.0
    if centroid(low) >= 0 or centroid(high) <= 0:
        slope = low if centroid(low) >= 0 else high
    else:
        slope = float(import_extra("scipy.optimize").brentq(centroid, low, high, xtol=1e-4))
    gain = 2 ** (slope * axis)
    gain *= np.sqrt(total / float((power * gain**2).sum()))
    return np.asarray(np.fft.irfft(spectrum * gain, len(samples)))
