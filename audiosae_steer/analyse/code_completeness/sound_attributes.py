"""Attributes of a clip's sound in numpy and scipy: pitch, loudness, spectrum, voice quality, rhythm, MFCC."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra

Numbers = NDArray[np.float64]
WINDOW, HOP = 0.04, 0.01
"""Seconds of a frame, and between two."""
LOWEST, HIGHEST = 60.0, 500.0
"""Hz of the pitch that is looked for."""
VOICED = 0.45
"""Normalised autocorrelation from which a frame is voiced."""
BELOW = 40.0
"""Decibels below the loudest frame down to which a frame is sound."""
MELS = 26
FAMILIES = {
    "pitch": ("f0 mean", "f0 sd", "f0 20 %", "f0 50 %", "f0 80 %", "voiced share"),
    "loudness": ("level mean", "level sd", "level 80 %"),
    "spectrum": (
        "centroid mean", "centroid sd", "spread mean", "roll-off mean", "flatness mean", "flux mean",
        "slope 0-500", "slope 500-1500", "alpha ratio", "Hammarberg index",
    ),
    "quality": ("HNR mean", "HNR sd"),
    "rhythm": ("onset rate", "sound share"),
    "mfcc": tuple(f"MFCC {i} {kind}" for i in range(1, 5) for kind in ("mean", "sd")),
}  # fmt: skip
"""Attributes by family: f0 in semitones above 27.5 Hz, levels and ratios in dB, frequencies in Hz, rates in 1/s."""
NAMES = tuple(name for names in FAMILIES.values() for name in names)


def attributes_of_sound(samples: Any, sample_rate: int) -> Numbers:
    """Attributes (A,) of a clip, in the order of `NAMES`; NaN where there is none, as of the pitch of noise.

    Levels are of the frames of 40 ms, the spectrum's means of those that are sound (at most 40 dB below the loudest).
    Pitch and the ratio of harmonics to noise (HNR) are by autocorrelation, divided by the window's (Boersma 1993).

    Args:
        samples: mono (n,), at least 40 ms.
        sample_rate: Hz.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    x = np.asarray(samples, np.float64)
    size, hop = round(WINDOW * sample_rate), round(HOP * sample_rate)
    x = np.pad(x, (0, max(size - len(x), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(x, size)[::hop]
    level = 10 * np.log10((frames**2).mean(1) + 1e-10)
    sound = (level > level.max() - BELOW) & (level > -95)
    if not sound.any():
        return np.full(len(NAMES), np.nan)
    window = np.hanning(size + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 + 1e-12
    f0, hnr = _pitch(frames[sound], window, sample_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means over no voiced frame are NaN, as they should
        pitch = [np.nanmean(f0), np.nanstd(f0), *np.nanpercentile(f0, [20, 50, 80]), np.isfinite(f0).mean()]
        quality = [np.nanmean(hnr), np.nanstd(hnr)]
    levels = [level[sound].mean(), level[sound].std(), np.percentile(level[sound], 80)]
    shape = _spectrum(power[sound], np.asarray(np.fft.rfftfreq(size, 1 / sample_rate), np.float64))
    mel = np.log(power @ _mel_filters(size, sample_rate).T + 1e-10)
    cepstra = import_extra("scipy.fft").dct(mel[sound], axis=1, norm="ortho")[:, 1:5]
    mfcc = np.stack([cepstra.mean(0), cepstra.std(0)], 1).reshape(-1)
    rhythm = [_onsets(mel) / (len(frames) * HOP), sound.mean()]
    return np.array([*pitch, *levels, *shape, *quality, *rhythm, *mfcc], np.float64)


def _pitch(frames: Numbers, window: Numbers, sample_rate: int) -> tuple[Numbers, Numbers]:
    """Semitones above 27.5 Hz and ratio of harmonics to noise in dB (frames,); NaN where not voiced."""
    size = len(window)
    n = 1 << (2 * size - 1).bit_length()

    def correlation(values: Numbers) -> Numbers:
        found: Numbers = np.fft.irfft(np.abs(np.fft.rfft(values, n, axis=-1)) ** 2, n, axis=-1)
        return found / np.maximum(found[..., :1], 1e-12)

    lags = np.arange(int(sample_rate / HIGHEST), min(int(sample_rate / LOWEST), size * 3 // 4) + 1)
    centred = (frames - frames.mean(1, keepdims=True)) * window
    r = correlation(centred)[:, : lags[-1] + 2] / np.maximum(correlation(window)[: lags[-1] + 2], 1e-3)
    # a higher pitch wins over its octave below, whose autocorrelation is as large
    peak = lags[np.argmax(r[:, lags] - 0.02 * np.log2(lags * LOWEST / sample_rate), axis=1)]
    rows = np.arange(len(r))
    left, top, right = r[rows, peak - 1], r[rows, peak], r[rows, peak + 1]
    bend = left - 2 * top + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1), 0).clip(-0.5, 0.5)
    voiced = (top > VOICED) & (top >= left) & (top >= right)
    strength = top.clip(1e-6, 1 - 1e-6)
    f0 = np.where(voiced, 12 * np.log2(sample_rate / (peak + shift) / 27.5), np.nan)
    return f0, np.where(voiced, 10 * np.log10(strength / (1 - strength)), np.nan)


def _spectrum(power: Numbers, hertz: Numbers) -> list[float]:
    """Centroid, spread, roll-off, flatness, flux, slopes, alpha ratio and Hammarberg index, over frames of sound."""
    total = power.sum(1)
    centroid = power @ hertz / total
    spread = np.sqrt(np.maximum(power @ hertz**2 / total - centroid**2, 0))
    roll_off = hertz[np.argmax(np.cumsum(power, 1) >= 0.85 * total[:, None], axis=1)]
    flatness = np.exp(np.log(power).mean(1)) / power.mean(1)
    unit = np.sqrt(power / total[:, None])
    flux = np.linalg.norm(np.diff(unit, axis=0), axis=1).mean() if len(unit) > 1 else np.nan
    decibels = 10 * np.log10(power)

    def band(low: float, high: float) -> NDArray[np.bool_]:
        return (hertz >= low) & (hertz < high)

    def slope(low: float, high: float) -> float:
        x = hertz[band(low, high)]
        return float(((decibels[:, band(low, high)] @ (x - x.mean())) / ((x - x.mean()) ** 2).sum()).mean() * 1000)

    alpha = 10 * np.log10(power[:, band(50, 1000)].sum(1) / power[:, band(1000, 5000)].sum(1))
    hammarberg = decibels[:, band(0, 2000)].max(1) - decibels[:, band(2000, 5000)].max(1)
    means = (centroid.mean(), centroid.std(), spread.mean(), roll_off.mean(), flatness.mean(), flux)
    return [*map(float, means), slope(0, 500), slope(500, 1500), float(alpha.mean()), float(hammarberg.mean())]


def _mel_filters(size: int, sample_rate: int) -> Numbers:
    """Triangular filters (mels, bins) between 20 Hz and half of the sample rate, at most 8 kHz."""
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)
    top = 2595 * np.log10(1 + min(8000, sample_rate / 2) / 700)
    edges = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 20 / 700), top, MELS + 2) / 2595) - 1)
    rise = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    filters: Numbers = np.maximum(np.minimum(rise, fall), 0)
    return filters


def _onsets(mel: Numbers) -> int:
    """Peaks of the rise of the log-mel spectrum, two deviations above its mean."""
    rise = np.maximum(np.diff(mel, axis=0), 0).mean(1)
    if len(rise) < 3:
        return 0
    peaks, _ = import_extra("scipy.signal").find_peaks(rise, height=rise.mean() + 2 * rise.std(), distance=5)
    return len(peaks)
