"""What `no-false-speech` is learned and calibrated on: recorded clips at varied loudness, mixtures, synthetic noise."""

from __future__ import annotations

from collections.abc import Sequence

import corpus
import numpy as np
from numpy.typing import NDArray

from audiosae_steer import load_audio

RATE = 16_000
Samples = NDArray[np.float32]


def synthetic_noise(seed: int, count: int) -> list[Samples]:
    """Noise that no microphone recorded: white, pink, brown, hum, tones, beeps, clicks, near-silence; 2 to 8 s."""
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        n = int(rng.uniform(2, 8) * RATE)
        t = np.arange(n) / RATE
        white = rng.standard_normal(n)
        kind = number % 8
        if kind < 3:  # white, pink, brown
            spectrum = np.fft.rfft(white) / np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20) ** (kind / 2)
            x = np.fft.irfft(spectrum, n)
        elif kind == 3:
            base = rng.choice([50, 60, 100, 120]) * rng.uniform(0.9, 1.6)
            x = sum(
                rng.uniform(0.1, 1) / h * np.sin(2 * np.pi * base * h * t + rng.uniform(0, 6)) for h in range(1, 12)
            )
        elif kind == 4:
            x = np.sin(2 * np.pi * rng.uniform(200, 3000) * t) + 0.3 * np.sin(2 * np.pi * rng.uniform(200, 3000) * t)
        elif kind == 5:
            x = np.sin(2 * np.pi * rng.uniform(400, 3000) * t) * (np.sin(2 * np.pi * rng.uniform(0.5, 6) * t) > 0)
        elif kind == 6:
            x = np.convolve(white * (rng.random(n) < rng.uniform(2, 30) / RATE), np.exp(-np.arange(800) / 80), "same")
        else:
            x = white * 1e-3
        x = x / (np.abs(x).max() + 1e-9) * 10 ** (rng.uniform(-45 if kind == 7 else -25, -1) / 20)
        clips.append((x + 1e-4 * rng.standard_normal(n)).astype(np.float32))
    return clips


def absent_clips(part: str, seed: int) -> list[Samples]:
    """Recorded clips without speech, at varied loudness, and synthetic noise."""
    rng = np.random.default_rng(seed)
    recorded = [load_audio(item.path)[: 30 * RATE] for item in corpus.nonspeech(part)]
    varied = [np.clip(x * 10 ** (rng.uniform(-20, 6) / 20), -1, 1).astype(np.float32) for x in recorded]
    return varied + synthetic_noise(seed + 1, 80 if part == "find" else 40)


def present_items(part: str, seed: int, most: int) -> list[corpus.Item]:
    """Utterances: all of the small corpora, and as many of the large one as there is room for."""
    rng = np.random.default_rng(seed)
    items = corpus.speech(part)
    small = [item for item in items if item.source != "speechocean762-train"]
    large = [item for item in items if item.source == "speechocean762-train"]
    picked = rng.permutation(len(large))[: max(most - len(small), 0)]
    return small + [large[i] for i in sorted(picked)]


def present_clips(part: str, items: Sequence[corpus.Item], seed: int, plain: bool = False) -> list[Samples]:
    """Their audio; a third with recorded noise mixed in at 0 to 20 dB, all at −30 to +6 dB, unless `plain`."""
    rng = np.random.default_rng(seed)
    noises = corpus.nonspeech(part)
    clips = []
    for item in items:
        x = load_audio(item.path)[: 30 * RATE]
        if not plain:
            if rng.random() < 1 / 3:
                noise = np.resize(load_audio(noises[int(rng.integers(len(noises)))].path), len(x))
                power = np.mean(x**2) / max(float(np.mean(noise**2)), 1e-10)
                x = x + noise * np.sqrt(power * 10 ** (-rng.uniform(0, 20) / 10))
            x = x * 10 ** (rng.uniform(-30, 6) / 20)
        clips.append(np.clip(x, -1, 1).astype(np.float32))
    return clips


def brief(clips: Sequence[Samples], seed: int) -> list[Samples]:
    """0.3 to 1.2 s of each clip, round a loud moment of it: of speech a word or two. Half in a telephone's band."""
    rng = np.random.default_rng(seed)
    found = []
    for x in clips:
        n = min(int(rng.uniform(0.3, 1.2) * RATE), len(x))
        power = np.convolve(x**2, np.ones(RATE // 5), "same")
        loud = np.flatnonzero(power >= 0.5 * power.max())
        start = int(np.clip(rng.choice(loud) - n // 2, 0, len(x) - n))
        word = x[start : start + n].astype(np.float64)
        if rng.random() < 0.5:
            spectrum, frequency = np.fft.rfft(word), np.fft.rfftfreq(n, 1 / RATE)
            word = np.fft.irfft(spectrum * ((frequency > 200) & (frequency < 3800)), n)
        edge = min(RATE // 100, n // 4)
        word[:edge] *= np.linspace(0, 1, edge)
        word[-edge:] *= np.linspace(1, 0, edge)
        pad = int(rng.uniform(0, 0.5) * RATE) * int(rng.random() < 0.5)
        found.append(np.pad(word, (pad, 0)).astype(np.float32))
    return found


def beside_noise(clips: Sequence[Samples], noises: Sequence[Samples], seed: int) -> list[Samples]:
    """Each clip with 3 to 15 s of noise before it, after it, or both, 30 s at most: one window that holds both."""
    rng = np.random.default_rng(seed)
    found = []
    for x in clips:
        x = x[: 24 * RATE]
        parts = [x]
        for side in rng.permutation(2)[: 1 + int(rng.random() < 0.5)]:
            room = 30 * RATE - sum(map(len, parts))
            n = min(int(rng.uniform(3, 15) * RATE), room)
            noise = np.resize(noises[int(rng.integers(len(noises)))], n)
            level = np.sqrt(np.mean(x**2) / max(float(np.mean(noise**2)), 1e-10))
            quieter = noise * np.float32(level * 10 ** (-rng.uniform(0, 25) / 20))
            parts.insert(0 if side == 0 else len(parts), quieter)
        found.append(np.clip(np.concatenate(parts), -1, 1).astype(np.float32))
    return found
