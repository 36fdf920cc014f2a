"""Gains in prediction beside circular shifts, each with a fit of its own, from products in the frequency domain.

A shift changes neither a feature's autocorrelation nor, with circular lags, its covariance matrix; and its covariances
with the responses are those of the unshifted feature at other lags. So one Fourier transform has all shifts, and each
shift chooses its penalty and fits its weights exactly as the feature as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Penalties of the gain's fit, in units of the mean variance of the lagged feature."""
CELLS = 1_500_000
"""Numbers of one block of shifts in memory."""


class Heard(NamedTuple):
    """One sound's responses and their prediction from envelope and onsets alone, less their means."""

    y: Numbers
    """(n, columns)."""
    base: Numbers
    """(n, columns)."""


class _Sound(NamedTuple):
    """A feature beside one sound's responses."""

    covariance: Numbers
    """(lags, lags) of the feature."""
    y: Numbers
    """(n, columns) covariance of the feature with y at every circular lag."""
    base: Numbers
    variance_y: Numbers
    """(columns,)."""
    variance_base: Numbers
    between: Numbers
    """(columns,) covariance of y and base."""


def draw_shifts(lengths: Sequence[int], rate: float, least: float, draws: int, seed: int) -> tuple[Indices, int]:
    """Circular shifts (draws, sounds) in samples, and how many sounds are too short for the smallest.

    A sound too short to be shifted by `least` seconds either way is shifted by at least a quarter of its length.
    """
    rng = np.random.default_rng([seed, 2])
    wanted = int(np.ceil(least * rate))
    bounds = [wanted if n >= 2 * wanted + 2 else n // 4 for n in lengths]
    drawn = [rng.integers(low, n - low + 1, size=draws) for n, low in zip(lengths, bounds, strict=True)]
    return np.stack(drawn, 1), sum(low != wanted for low in bounds)


def shifted_correlations(predicted: Numbers, y: Numbers, shifts: Indices) -> Numbers:
    """Pearson's r (shifts, columns) of a prediction and circularly shifted responses, both (n, columns)."""
    a, b = predicted - predicted.mean(0), y - y.mean(0)
    size = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    found: Numbers = cross(a, b)[shifts % len(y)] / np.where(size > 1e-12, size, np.inf)
    return found


def cross(f: Numbers, y: Numbers) -> Numbers:
    """Σ_t f[t − m]·y[t] at every circular lag m, (n, columns) of f (n,) or (n, columns) and y (n, columns)."""
    f = f[:, None] if f.ndim == 1 else f
    found: Numbers = np.fft.irfft(np.conj(np.fft.rfft(f, axis=0)) * np.fft.rfft(y, axis=0), len(y), axis=0)
    return found


def gains(
    feature: Sequence[Numbers], heard: Sequence[Heard], find: Sequence[int], report: Sequence[int], lags: Indices,
    shifts: Indices,
) -> Numbers:  # fmt: skip
    """Gain in r (shifts, sounds of report, columns) of a feature over the prediction without it.

    What envelope and onsets leave of the responses is regressed on the lagged feature, by ridge on the part `find`,
    with the penalty that gives the highest mean r when one of its sounds after the other is left out. A first row of
    zeros in `shifts` is the feature as it is.

    Args:
        feature: (n,) of each sound, without what the envelope and the onsets explain of it.
        heard: responses to each sound.
        find: sounds to fit on, two at least.
        report: sounds to predict.
        lags: (lags,) in samples.
        shifts: (shifts, sounds) in samples.
    """
    sounds = [_sound(f - f.mean(), each, lags) for f, each in zip(feature, heard, strict=True)]
    columns = heard[0].y.shape[1]
    step = max(CELLS // (len(lags) * columns), 1)
    folds = [([j for j in find if j != i], i) for i in find] if len(find) > 1 else []
    found = []
    for start in range(0, len(shifts), step):
        block = shifts[start : start + step]
        moved = [_at(sound, lags, block[:, i]) for i, sound in enumerate(sounds)]
        scores = np.sum([_scores(sounds, moved, train, left_out) for train, left_out in folds], 0)
        best = np.argmax(scores, 0) if folds else np.full(len(block), len(PENALTIES) - 1)
        found.append(_gain(sounds, moved, find, report, best))
    return np.concatenate(found)


def _sound(f: Numbers, heard: Heard, lags: Indices) -> _Sound:
    n = len(f)
    own = cross(f, f[:, None])[:, 0]
    covariance = own[np.abs(lags[:, None] - lags[None]) % n]
    return _Sound(
        covariance, cross(f, heard.y), cross(f, heard.base), (heard.y**2).sum(0), (heard.base**2).sum(0),
        (heard.y * heard.base).sum(0),
    )  # fmt: skip


def _at(sound: _Sound, lags: Indices, shifts: Indices) -> tuple[Numbers, Numbers]:
    """Covariances with y and base (shifts, columns, lags) of the feature after each shift."""
    rows = (lags[None] + shifts[:, None]) % len(sound.y)
    return sound.y[rows].transpose(0, 2, 1), sound.base[rows].transpose(0, 2, 1)


def _solved(
    sounds: Sequence[_Sound], moved: Sequence[tuple[Numbers, Numbers]], train: Sequence[int]
) -> tuple[Numbers, Numbers, Numbers]:
    """Eigenvectors and eigenvalues of the training covariance, and the right side in that basis."""
    values, vectors = np.linalg.eigh(np.sum([sounds[i].covariance for i in train], 0))
    right = np.sum([moved[i][0] - moved[i][1] for i in train], 0) @ vectors
    return vectors, values.clip(0), right


def _scores(
    sounds: Sequence[_Sound], moved: Sequence[tuple[Numbers, Numbers]], train: Sequence[int], left_out: int
) -> Numbers:
    """Mean r (penalties, shifts) on the sound that was left out."""
    vectors, values, right = _solved(sounds, moved, train)
    y, base = (each @ vectors for each in moved[left_out])
    covariance = vectors.T @ sounds[left_out].covariance @ vectors
    found = []
    for penalty in PENALTIES:
        w = right / (values + penalty * max(values.mean(), 1e-12))
        own = ((w @ covariance) * w).sum(-1)
        found.append(_r(sounds[left_out], (w * y).sum(-1), (w * base).sum(-1), own).mean(1))
    return np.stack(found)


def _gain(
    sounds: Sequence[_Sound], moved: Sequence[tuple[Numbers, Numbers]], find: Sequence[int], report: Sequence[int],
    best: Indices,
) -> Numbers:  # fmt: skip
    """Gain (shifts, sounds, columns) with the penalty of each shift."""
    vectors, values, right = _solved(sounds, moved, find)
    penalty = np.array(PENALTIES)[best][:, None, None] * max(values.mean(), 1e-12)
    w = (right / (values + penalty)) @ vectors.T
    found = []
    for i in report:
        y, base = moved[i]
        sound = sounds[i]
        r = _r(sound, (w * y).sum(-1), (w * base).sum(-1), ((w @ sound.covariance) * w).sum(-1))
        zero = np.zeros(sound.variance_y.shape)
        found.append(r - _r(sound, zero, zero, zero))
    return np.stack(found, 1)


def _r(sound: _Sound, with_y: Numbers, with_base: Numbers, own: Numbers) -> Numbers:
    """r of y and base + prediction, from the prediction's covariances and variance."""
    size = sound.variance_y * (sound.variance_base + 2 * with_base + own)
    found: Numbers = (sound.between + with_y) / np.sqrt(np.where(size > 1e-12, size, np.inf))
    return found


def without_sound(
    features: Sequence[Numbers], sound: Sequence[Numbers], find: Sequence[int], reach: int
) -> list[Numbers]:
    """Features (n, F) of each sound less what its envelope and onsets explain of them at lags up to `reach` samples.

    The regression is fitted on the sounds `find` alone, with circular lags, and with a penalty of a millionth of the
    mean variance, which lets collinear lags be solved.
    """
    lags = range(-reach, reach + 1)

    def lagged(i: int) -> Numbers:
        own = sound[i] - sound[i].mean(0)
        return np.concatenate([np.roll(own, lag, 0) for lag in lags], 1)

    width = sound[0].shape[1] * len(lags)
    left, right = np.zeros((width, width)), np.zeros((width, features[0].shape[1]))
    for i in find:
        x = lagged(i)
        left += x.T @ x
        right += x.T @ (features[i] - features[i].mean(0))
    left[np.diag_indices(width)] += 1e-6 * max(left.trace() / width, 1e-12)
    weights = np.linalg.solve(left, right)
    return [features[i] - features[i].mean(0) - lagged(i) @ weights for i in range(len(features))]
