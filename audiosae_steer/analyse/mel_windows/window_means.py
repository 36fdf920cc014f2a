"""Means of spectrogram windows around the peaks of a feature, and of windows at random frames of the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.audio import Samples
from ...data.log_mel import MEL_RATE, band_centres, log_mel, mel_power
from ..frame.intervals import interval_of
from ..frame.nulls import p_value
from .activation_peaks import Peak, peaks_of
from .mel_records import Map, MelPattern, MelSettings

Numbers = NDArray[np.float64]
BAND = 3.2905
"""Deviations beyond which a thousandth of a normal distribution lies."""


class Spectra(NamedTuple):
    """Spectrograms of clips, one after the other, with room for half a window around each."""

    mel: NDArray[np.float32]
    """(columns, 80) log-mel; 0 outside of clips."""
    energy: NDArray[np.float32]
    """(columns,) power of all bands; 0 outside of clips."""
    sound: NDArray[np.float32]
    """(columns,) 1 within clips, 0 outside."""
    starts: NDArray[np.int64]
    """(clips,) first column of each."""
    lengths: NDArray[np.int64]
    """(clips,) columns of each."""
    half: int
    """Columns of half a window."""

    @classmethod
    def of(cls, sounds: Sequence[Samples], seconds: float) -> Spectra:
        """Spectrograms of mono samples at 16 kHz, for windows of so many seconds."""
        half = max(round(seconds * MEL_RATE / 2), 1)
        powers = [mel_power(samples) for samples in sounds]
        lengths = np.array([len(power) for power in powers], np.int64)
        starts = half + np.cumsum([0, *(lengths[:-1] + half)])
        columns = int(starts[-1] + lengths[-1] + half)
        mel, energy = np.zeros((columns, powers[0].shape[1]), np.float32), np.zeros(columns, np.float32)
        sound = np.zeros(columns, np.float32)
        for power, start in zip(powers, starts, strict=True):
            own = slice(start, start + len(power))
            mel[own], energy[own], sound[own] = log_mel(power), power.sum(1), 1
        return cls(mel, energy, sound, starts.astype(np.int64), lengths, half)

    def means(self, centres: NDArray[np.int64], weights: Numbers) -> tuple[Numbers, float]:
        """Mean log-mel (columns, 80) of windows around columns, padding left out, and their mean asymmetry."""
        index = centres[:, None] + np.arange(-self.half, self.half + 1)
        sound = self.sound[index] * weights[:, None].astype(np.float32)
        # outside of clips mel is 0, so that only the count has to leave padding out
        windows = self.mel[index].reshape(len(index), -1)
        total = (weights.astype(np.float32) @ windows).reshape(index.shape[1], -1).astype(float)
        count = sound.sum(0, dtype=float)[:, None]
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        there, energy = self.sound[index], self.energy[index]
        before, after = slice(0, self.half), slice(self.half + 1, None)
        sides = [
            energy[:, side].sum(1, dtype=float) / np.maximum(there[:, side].sum(1, dtype=float), 1e-9)
            for side in (before, after)
        ]
        whole = (there[:, before].sum(1) > 0) & (there[:, after].sum(1) > 0) & (sides[0] + sides[1] > 0)
        ratio = (sides[1] - sides[0])[whole] / (sides[0] + sides[1])[whole]
        return mean, float(np.average(ratio, weights=weights[whole])) if whole.any() else 0.0


def pattern_of(
    feature: int,
    activations: Sequence[NDArray[np.float32]],
    spectra: Spectra,
    rate: float,
    settings: MelSettings,
    dictionary: str = "SAE",
) -> MelPattern | None:
    """The pattern of one feature; None if it has too few peaks.

    The standard error of a mean is the standard deviation of means of as many windows at random frames of the same
    clips, so that windows of one clip count as what they are.

    Args:
        feature: its number.
        activations: (frames,) of each clip.
        spectra: spectrograms of the clips.
        rate: frames per second of the activations.
        settings: peaks, weights, draws and seed.
        dictionary: name of what the feature is of.
    """
    peaks = peaks_of(activations, rate, apart=settings.apart, per_clip=settings.per_clip, most=settings.most)
    if len(peaks) < max(settings.least, 1):
        return None
    clips = np.array([peak.clip for peak in peaks])
    weights = np.array([peak.activation for peak in peaks]) if settings.weight == "activation" else np.ones(len(peaks))
    mean, asymmetry = spectra.means(_columns(peaks, spectra, rate), weights)
    rng = np.random.default_rng([settings.seed, feature])
    drawn, asymmetries = [], []
    for _ in range(settings.shuffles):
        centres = spectra.starts[clips] + (rng.random(len(clips)) * spectra.lengths[clips]).astype(np.int64)
        other, side = spectra.means(centres, weights)
        drawn.append(other)
        asymmetries.append(side)
    z, null_z, middle = _deviations(mean, np.stack(drawn))
    difference = mean - middle
    column, band = np.unravel_index(int(np.nanargmax(difference)), difference.shape)
    off = np.abs(np.array(asymmetries) - np.mean(asymmetries))
    return MelPattern(
        feature=feature, dictionary=dictionary, windows=len(peaks), clips=len(set(clips.tolist())), mean=_map(mean),
        difference=_map(difference), z=_map(z), beyond=_share(z),
        beyond_null=float(np.mean([_share(x) for x in null_z])),
        p=float(p_value(np.nanmax(np.abs(z)), [np.nanmax(np.abs(x)) for x in null_z])),
        peak_ms=float((column - spectra.half) * 1000 / MEL_RATE), peak_hz=round(float(band_centres()[band]), 1),
        asymmetry=round(asymmetry, 6), asymmetry_null=interval_of(asymmetries),
        asymmetry_p=float(p_value(abs(asymmetry - np.mean(asymmetries)), off)),
    )  # fmt: skip


def _columns(peaks: Sequence[Peak], spectra: Spectra, rate: float) -> NDArray[np.int64]:
    """Column at the centre of each peak's frame."""
    times = np.array([(peak.frame + 0.5) / rate for peak in peaks])
    clips = np.array([peak.clip for peak in peaks])
    places = np.minimum(np.round(times * MEL_RATE + 1e-9).astype(np.int64), spectra.lengths[clips] - 1)
    return np.asarray(spectra.starts[clips] + places)


def _deviations(mean: Numbers, drawn: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Deviation of a mean from random ones (draws, …), that of each random one from the others, and their mean."""
    count = len(drawn)
    total, square = drawn.sum(0), np.square(drawn).sum(0)

    def deviation(x: Numbers, others: int, sums: Numbers, squares: Numbers) -> Numbers:
        middle = sums / others
        spread = np.sqrt(np.maximum(squares / others - np.square(middle), 1e-12) * others / (others - 1))
        return np.asarray((x - middle) / spread)

    null = deviation(drawn, count - 1, total - drawn, square - np.square(drawn))
    return deviation(mean, count, total, square), null, total / count


def _share(z: Numbers) -> float:
    return float((np.abs(z[np.isfinite(z)]) > BAND).mean())


def _map(values: Numbers) -> Map:
    """(columns, bands) as bands of columns, with four digits."""
    return tuple(tuple(None if np.isnan(x) else round(float(x), 4) for x in row) for row in values.T)


def as_array(values: Any) -> Numbers:
    """Such a map as an array, NaN where there is nothing."""
    return np.array([[np.nan if x is None else x for x in row] for row in values], float)
