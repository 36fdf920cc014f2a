"""Responses and features brought to one rate: filters, scales, envelope and onsets, and frames at sample times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE
from ...errors import SteeringError
from ...io.progress import Tell
from ..frame.codes import Dictionary, fires
from ..frame.extra import import_extra
from ..frame.residual_clips import Residuals, check_fits

Numbers = NDArray[np.float64]
ORDER = 3
"""Of the Butterworth filter, which runs forwards and backwards."""


@dataclass(frozen=True)
class Stimuli:
    """Sounds as features in time, at the rate of the responses."""

    names: tuple[str, ...]
    """Names of the sounds."""
    features: tuple[NDArray[np.float32], ...]
    """(n, F) of each sound."""
    sound: tuple[Numbers, ...]
    """(n, 2) envelope and onsets of each sound."""
    rate: float
    """Samples per second."""
    ids: tuple[int, ...] = ()
    """Number of each feature; none: their columns'."""
    per_second: tuple[float, ...] = ()
    """Frames a second on which each fires."""

    def __post_init__(self) -> None:
        sizes = {each.shape[1] if each.ndim == 2 else 0 for each in self.features}
        fit = all(len(a) == len(b) and b.ndim == 2 for a, b in zip(self.features, self.sound, strict=False))
        if not self.names or len(sizes) != 1 or not len(self.names) == len(self.features) == len(self.sound) or not fit:
            raise SteeringError(
                f"{len(self.names)} sounds with {len(self.features)} features (n, F) and {len(self.sound)} envelopes "
                "(n, 2) do not fit; give each sound one of both, of the same length, and as many features everywhere"
            )

    @property
    def numbers(self) -> tuple[int, ...]:
        """Number of each feature."""
        return self.ids or tuple(range(self.features[0].shape[1]))


def prepared(samples: Numbers, rate: float, to_rate: float, band: tuple[float, float] = (0.0, 0.0)) -> Numbers:
    """A response (n, channels) in a band, at another rate, with median 0 and an interquartile range of 1.

    Broderick et al. (2018), whose preprocessing AudioSAE takes, filter between 1 and 8 Hz; the filter here is a
    Butterworth of order 3, run in both directions so that nothing is delayed.

    Raises:
        SteeringError: the band or the rate cannot be had, or a channel is constant.
        MissingExtraError: scipy is not installed.
    """
    signal = import_extra("scipy.signal")
    y = np.asarray(samples, float)
    low, high = band
    if low < 0 or high < 0 or max(low, high) >= rate / 2 or (high and low >= high):
        raise SteeringError(
            f"a band of {low:g} to {high:g} Hz cannot be had at {rate:g} Hz; expected 0 <= low < high < {rate / 2:g}, "
            "with 0 for no bound"
        )
    if low or high:
        kind, edges = ("bandpass", band) if low and high else ("highpass", low) if low else ("lowpass", high)
        y = signal.sosfiltfilt(signal.butter(ORDER, edges, kind, fs=rate, output="sos"), y, axis=0)
    y = resampled(y, rate, to_rate)
    low, middle, high = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
    if (high <= low).any():
        raise SteeringError("a channel of the responses is constant; leave it out by naming the channels to use")
    scaled: Numbers = (y - middle) / (high - low)
    return scaled


def resampled(y: Numbers, rate: float, to_rate: float) -> Numbers:
    """Samples (n, ...) at another rate, by a polyphase filter without delay."""
    if rate == to_rate:
        return y
    ratio = Fraction(to_rate / rate).limit_denominator(10_000)
    found: Numbers = import_extra("scipy.signal").resample_poly(y, ratio.numerator, ratio.denominator, axis=0)
    return found


def sound_of(samples: NDArray[Any], rate: float, to_rate: float) -> Numbers:
    """Envelope and onsets (n, 2) of mono samples: the analytic signal's magnitude, and where it rises, by how much.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    length = int(import_extra("scipy.fft").next_fast_len(len(samples)))
    analytic = import_extra("scipy.signal").hilbert(np.asarray(samples, float), length)[: len(samples)]
    envelope = resampled(np.abs(analytic), rate, to_rate).clip(0)
    return np.stack([envelope, np.diff(envelope, prepend=envelope[:1]).clip(0)], 1)


def chosen_features(
    residuals: Residuals, dictionary: Dictionary, parts: Sequence[Any], per_second: float
) -> tuple[NDArray[np.int64], Numbers]:
    """Features that fire often enough in each part, and how many frames a second each fires on, over all clips.

    Args:
        residuals: clips.
        dictionary: SAE, or a control of it.
        parts: clips of each part.
        per_second: frames a second.

    Raises:
        SiteError: the dictionary reads residuals of another width.
        SteeringError: the frames have no rate.
    """
    check_fits(dictionary, residuals)
    if not residuals.rate:
        raise SteeringError("these residuals have no frame rate, so that they cannot be laid beside responses in time")
    counts = np.zeros((len(residuals), dictionary.n_features))
    for number, x in enumerate(residuals):
        with torch.no_grad():
            counts[number] = fires(dictionary, dictionary.encode(x)).sum(0).cpu().numpy() if len(x) else 0
    seconds = residuals.frames / residuals.rate
    often = np.ones(dictionary.n_features, bool)
    for rows in parts:
        often &= counts[rows].sum(0) >= per_second * seconds[rows].sum()
    return np.flatnonzero(often), counts.sum(0) / max(float(seconds.sum()), 1e-9)


def stimuli_of(
    residuals: Residuals,
    dictionary: Dictionary,
    features: Sequence[int],
    rate: float,
    per_second: Sequence[float] = (),
    progress: Tell | None = None,
) -> Stimuli:
    """Sounds as chosen features at another rate, interpolated between the centres of frames; and their envelopes.

    Excerpts of one file follow each other in one sound.

    Raises:
        SteeringError: the residuals are not of files, or have no rate.
        AudioError: a file cannot be read.
    """
    if residuals.excerpts is None or not residuals.rate:
        raise SteeringError("envelopes take the sound: give residuals that read_residuals() read of files, with a rate")
    items = residuals.excerpts.items
    pieces: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        pieces.setdefault(item.path.stem, []).append(number)
    values, sounds = [], []
    index = torch.as_tensor(list(features))
    for at, (name, rows) in enumerate(pieces.items()):
        if progress is not None:
            progress("sounds at the responses' rate", at, len(pieces))
        rows = sorted(rows, key=lambda row: items[row].start)
        if len({items[row].path for row in rows}) > 1 or len({items[row].start for row in rows}) < len(rows):
            raise SteeringError(f"there are two sounds named {name}; name their files apart")
        seconds = items[rows[-1]].start + items[rows[-1]].seconds
        wave = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        times, frames = [], []
        for row in rows:
            samples = items[row].read()
            first = round(items[row].start * SAMPLE_RATE)
            wave[first : first + len(samples)] = samples[: len(wave) - first]
            with torch.no_grad():
                f = dictionary.encode(residuals.read(row))[:, index].cpu().numpy()
            frames.append(f)
            times.append(items[row].start + (np.arange(len(f)) + 0.5) / residuals.rate)
        sound = sound_of(wave, SAMPLE_RATE, rate)
        sounds.append(sound)
        values.append(_at(np.arange(len(sound)) / rate, np.concatenate(times), np.concatenate(frames)))
    return Stimuli(
        tuple(pieces), tuple(values), tuple(sounds), rate, tuple(int(each) for each in features), tuple(per_second)
    )  # fmt: skip


def _at(wanted: Numbers, times: Numbers, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, F) at wanted times, linear between the given ones, constant outside."""
    after = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    share = ((wanted - times[after - 1]) / (times[after] - times[after - 1])).clip(0, 1)[:, None].astype(np.float32)
    found: NDArray[np.float32] = (1 - share) * values[after - 1] + share * values[after]
    return found
