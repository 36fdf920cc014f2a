"""Augmentation of clips to learn and to fit on: gain, noise within and beside speech, brief stretches, synthetic noise.

Gates that are fitted on whole sentences alone take single words for noise, and those fitted on recordings alone do not
know hum. All clips are mono float32 samples at 16 kHz, 30 s at most; everything is a function of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .acoustics import mixture, quiet
from .audio import SAMPLE_RATE, WINDOW, Samples


def vary_absent(clips: Sequence[Samples], seed: int, *, synthetic: int = 80, brief_share: float = 0.3) -> list[Samples]:
    """Non-speech at −20 to +6 dB, some synthetic noise, and brief stretches of a share of both."""
    rng = np.random.default_rng(seed)
    whole = [louder(x[:WINDOW], rng.uniform(-20, 6)) for x in clips] + synthetic_noise(seed + 1, synthetic)
    return whole + brief(_some(whole, brief_share, rng), seed + 2)


def vary_present(
    clips: Sequence[Samples],
    noises: Sequence[Samples],
    seed: int,
    *,
    noisy_share: float = 1 / 3,
    brief_share: float = 0.4,
    beside_share: float = 0.25,
) -> list[Samples]:
    """Clips with speech at −30 to +6 dB, a share of them with noise at 0 to 20 dB; and of a share of these, once more,
    a brief stretch, or the clip with noise before or after it."""
    rng = np.random.default_rng(seed)
    noises = [noise for noise in noises if len(noise) >= SAMPLE_RATE // 20 and noise.any()]
    whole = []
    for clip in clips:
        x = clip[:WINDOW]
        if noises and x.any() and rng.random() < noisy_share:
            x = mixture(x, noises[int(rng.integers(len(noises)))], rng.uniform(0, 20))
        whole.append(louder(x, rng.uniform(-30, 6)))
    words = brief(_some(whole, brief_share, rng), seed + 1)
    if not noises:
        return whole + words
    return whole + words + beside_noise(_some(whole, beside_share, rng), noises, seed + 2)


def louder(x: Samples, decibels: float) -> Samples:
    """Samples with a gain in dB, clipped at ±1 as a recording would be."""
    return np.clip(quiet(x, decibels), -1, 1)


def add_noise(samples: Samples, noise: Samples, rng: np.random.Generator) -> Samples:
    """The samples with noise, repeated or cut to their length, at 0 to 20 dB; unchanged where either is silent."""
    noise = np.resize(noise, len(samples))
    power, noise_power = float(np.mean(samples**2)), float(np.mean(noise**2))
    if power == 0 or noise_power == 0:
        return samples
    gain = np.float32(np.sqrt(power / noise_power * 10 ** (-rng.uniform(0, 20) / 10)))
    mixed: Samples = samples + noise * gain
    return mixed


def brief(clips: Sequence[Samples], seed: int) -> list[Samples]:
    """Stretches of 0.3 to 1.2 s around a loud moment of each clip: a word or two; half in a telephone band."""
    rng = np.random.default_rng(seed)
    found = []
    for x in clips:
        n = min(int(rng.uniform(0.3, 1.2) * SAMPLE_RATE), len(x))
        power = np.convolve(x**2, np.ones(SAMPLE_RATE // 5), "same")
        loud = np.flatnonzero(power >= 0.5 * power.max())
        start = int(np.clip(rng.choice(loud) - n // 2, 0, len(x) - n))
        word = x[start : start + n].astype(np.float64)
        if rng.random() < 0.5:
            spectrum, frequency = np.fft.rfft(word), np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
            word = np.fft.irfft(spectrum * ((frequency > 200) & (frequency < 3800)), n)
        edge = min(SAMPLE_RATE // 100, n // 4)
        if edge:
            word[:edge] *= np.linspace(0, 1, edge)
            word[-edge:] *= np.linspace(1, 0, edge)
        pad = int(rng.uniform(0, 0.5) * SAMPLE_RATE) * int(rng.random() < 0.5)
        found.append(np.pad(word, (pad, 0)).astype(np.float32))
    return found


def beside_noise(clips: Sequence[Samples], noises: Sequence[Samples], seed: int) -> list[Samples]:
    """Each clip with 3 to 15 s of noise before it, after it, or both: one window that holds speech and something else.

    The noise is 0 to 25 dB weaker than the speech.
    """
    rng = np.random.default_rng(seed)
    found = []
    for clip in clips:
        x = clip[: 4 * WINDOW // 5]
        parts = [x]
        for side in rng.permutation(2)[: 1 + int(rng.random() < 0.5)]:
            n = min(int(rng.uniform(3, 15) * SAMPLE_RATE), WINDOW - sum(map(len, parts)))
            noise = np.resize(noises[int(rng.integers(len(noises)))], n)
            level = np.sqrt(np.mean(x**2) / max(float(np.mean(noise**2)) if n else 1.0, 1e-10))
            quieter = noise * np.float32(level * 10 ** (-rng.uniform(0, 25) / 20))
            parts.insert(0 if side == 0 else len(parts), quieter)
        found.append(np.clip(np.concatenate(parts), -1, 1).astype(np.float32))
    return found


def synthetic_noise(seed: int, count: int) -> list[Samples]:
    """Synthetic noise of 2 to 8 s: white, pink, brown, hum, tones, beeps, clicks, near-silence."""
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        n = int(rng.uniform(2, 8) * SAMPLE_RATE)
        kind = number % 8
        x = _synthetic(kind, n, rng)
        x = x / (np.abs(x).max() + 1e-9) * 10 ** (rng.uniform(-45 if kind == 7 else -25, -1) / 20)
        clips.append((x + 1e-4 * rng.standard_normal(n)).astype(np.float32))
    return clips


def _synthetic(kind: int, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    t = np.arange(n) / SAMPLE_RATE
    white: NDArray[np.float64] = rng.standard_normal(n)
    if kind < 3:  # white, pink, brown
        spectrum = np.fft.rfft(white) / np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 20) ** (kind / 2)
        coloured: NDArray[np.float64] = np.fft.irfft(spectrum, n)
        return coloured
    if kind == 3:  # mains hum and its harmonics
        base = rng.choice([50, 60, 100, 120]) * rng.uniform(0.9, 1.6)
        harmonics, phases = np.arange(1, 12)[:, None], rng.uniform(0, 6, (11, 1))
        waves = rng.uniform(0.1, 1, (11, 1)) / harmonics * np.sin(2 * np.pi * base * harmonics * t + phases)
        return np.asarray(waves.sum(0))
    if kind == 4:  # two tones
        return np.sin(2 * np.pi * rng.uniform(200, 3000) * t) + 0.3 * np.sin(2 * np.pi * rng.uniform(200, 3000) * t)
    if kind == 5:  # beeps
        return np.sin(2 * np.pi * rng.uniform(400, 3000) * t) * (np.sin(2 * np.pi * rng.uniform(0.5, 6) * t) > 0)
    if kind == 6:  # clicks
        clicks = white * (rng.random(n) < rng.uniform(2, 30) / SAMPLE_RATE)
        return np.convolve(clicks, np.exp(-np.arange(800) / 80), "same")
    return white * 1e-3


def _some(clips: Sequence[Samples], share: float, rng: np.random.Generator) -> list[Samples]:
    chosen = sorted(rng.permutation(len(clips))[: round(share * len(clips))])
    return [clips[i] for i in chosen]
