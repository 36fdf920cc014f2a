"""Indices of made-up content, of any size: for the pages' tests, and for their time at 73,728 features."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from audiosae_steer.data.log_mel import log_mel, mel_power
from audiosae_steer.evaluate.page_parts.mel_png import mel_png
from audiosae_steer.explorer.index.index_file import IndexWriter, new_index
from audiosae_steer.explorer.index.index_schema import BINS, pack_curve

RATE = 50.0
SHOWN = {"top": 20, "q90": 5, "q75": 5, "q50": 5, "threshold": 5, "near": 5}
LABELS = ("cough", "dog", "rain", "speech")
WORDS = (
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "rain",
    "falls",
    "on",
    "old",
    "windows",
)
DENSITY = np.exp(-(((np.arange(BINS) - 34) / 5) ** 2)) / np.exp(-(((np.arange(BINS) - 34) / 5) ** 2)).sum()
CURVES = 32
"""Curves that are made for each clip, from which examples are drawn."""


def made_index(
    path: str | Path, layers: Sequence[int] = (3, 4), features: int = 64, clips: int = 40, seed: int = 0,
    *, seconds: tuple[float, float] = (2.0, 6.0), sounds: bool = True,
) -> Path:  # fmt: skip
    """Write an index of so many layers, features a layer, and clips; one feature in 16 never fires."""
    rng = np.random.default_rng(seed)
    lengths = np.round(rng.uniform(*seconds, clips), 2)
    with new_index(path) as writer:
        writer.meta({
            "model": "tiny.en", "library": "openai", "family": "whisper", "weights": "0" * 64, "made": "0.0.0",
            "labels": list(LABELS), "sounds": sounds, "seconds": round(float(lengths.sum()), 2),
        })  # fmt: skip
        frames = [max(round(each * RATE), 1) for each in lengths]
        writer.add("layers", [
            (layer, f"encoder layer {layer}", json.dumps({"file": f"layer{layer}.safetensors"}), f"{layer:064x}",
             features, 384, RATE, clips, sum(frames)) for layer in layers
        ])  # fmt: skip
        _clips(writer, lengths, rng, sounds)
        curves = [[pack_curve(_curve(n, rng)) for _ in range(CURVES)] for n in frames]
        for layer in layers:
            _layer(writer, layer, features, curves, frames, rng)
    return Path(path)


def _clips(writer: IndexWriter, lengths: np.ndarray, rng: np.random.Generator, sounds: bool) -> None:
    for number, length in enumerate(lengths, 1):
        label = LABELS[number % len(LABELS)]
        text = " ".join(rng.choice(WORDS, 8)) if label == "speech" else ""
        licence = "CC0-1.0" if number % 5 else ""
        writer.add("clips", [(number, f"made/{label}-{number:05d}.flac", 0.0, float(length), label, text, "made up",
                              licence, int(bool(licence)))])  # fmt: skip
        time = np.arange(int(length * 16000)) / 16000
        sound = (0.3 * np.sin(2 * np.pi * (200 + 37 * number % 2000) * time) * (time % 1 < 0.6)).astype(np.float32)
        writer.add("mels", [(number, mel_png(log_mel(mel_power(sound))))])
        if sounds:
            out = io.BytesIO()
            soundfile.write(out, sound, 16000, format="FLAC", subtype="PCM_16")
            writer.add("sounds", [(number, out.getvalue())])
        if text:
            writer.add("words", [(text, "transcript", None, None, number)])


def _curve(frames: int, rng: np.random.Generator) -> np.ndarray:
    at = np.arange(frames)
    bumps = [
        rng.gamma(2, 0.6) * np.exp(-(((at - rng.uniform(0, frames)) / rng.uniform(2, 14)) ** 2))
        for _ in range(int(rng.integers(1, 4)))
    ]
    return np.maximum(np.sum(bumps, 0) - 0.05, 0)


def _layer(
    writer: IndexWriter, layer: int, features: int, curves: list[list[tuple[float, bytes]]], frames: list[int],
    rng: np.random.Generator,
) -> None:  # fmt: skip
    clips = len(frames)
    alive = np.arange(features) % 16 != 15
    peak = np.where(alive, rng.gamma(4, 0.8, features), 0)
    fired = np.where(alive, np.exp(rng.normal(np.log(sum(frames) / 50), 1.2, features)).astype(int) + 1, 0)
    place = rng.random((features, 2))
    for i in range(features):
        if not alive[i]:
            writer.add("features", [(layer, i, 0, 0, 0.0, 0.0, bytes(4 * BINS), "", None, None)])
            continue
        counts = rng.multinomial(int(fired[i]), DENSITY)
        label = LABELS[i % len(LABELS)] if i % 3 else ""
        writer.add("features", [(
            layer, i, int(fired[i]), min(clips, int(fired[i])), float(peak[i]), float(peak[i] / 3),
            counts.astype("<u4").tobytes(), label, float(place[i, 0]), float(place[i, 1]),
        )])  # fmt: skip
        _examples(writer, layer, i, float(peak[i]), curves, frames, rng)
        _findings(writer, layer, i, features, label, clips, rng)
    for clip in range(1, clips + 1):
        own = np.flatnonzero(alive & (rng.random(features) < 0.05))
        values = rng.gamma(2, 0.5, len(own))
        writer.add("peaks", [(layer, clip, zlib.compress(own.astype("<u2").tobytes()),
                              zlib.compress(values.astype("<f2").tobytes()))])  # fmt: skip


def _examples(
    writer: IndexWriter, layer: int, feature: int, peak: float, curves: list[list[tuple[float, bytes]]],
    frames: list[int], rng: np.random.Generator,
) -> None:  # fmt: skip
    levels = {"top": 1.0, "q90": 0.9, "q75": 0.75, "q50": 0.5, "threshold": 0.05, "near": 0.1}
    rows = []
    for kind in SHOWN:
        number = min(SHOWN[kind], len(frames))
        for rank, clip in enumerate(rng.permutation(len(frames))[:number]):
            value = peak * levels[kind] * (1 - 0.01 * rank)
            _, packed = curves[clip][int(rng.integers(CURVES))]
            rows.append((layer, feature, kind, rank, int(clip) + 1, value, float(rng.uniform(0, frames[clip] / RATE)),
                         value, packed))  # fmt: skip
    writer.add("examples", rows)


def _findings(
    writer: IndexWriter, layer: int, feature: int, features: int, label: str, clips: int, rng: np.random.Generator
) -> None:
    others = [other for other in rng.permutation(features)[:17].tolist() if other != feature][:16]
    rows = [(layer, feature, kind, rank, other, round(0.9 - 0.04 * rank, 3))
            for kind in ("cosine", "together") for rank, other in enumerate(others)]  # fmt: skip
    writer.add("neighbours", rows)
    if label:
        own = max(clips // len(LABELS), 1)
        writer.add("labels", [(layer, feature, 0, label, own, max(own // 2, 1), 3.2, 1.4, 5.1)])
        writer.add("words", [(label, "label", layer, feature, None)])
    if feature % 8 == 0:
        effect = {"end": 0.42, "first": [" The", -0.31], "words": [[" rain", -0.8], [" dog", 0.4]],
                  "before": "the rain falls", "after": "the dog falls"}  # fmt: skip
        writer.add("effects", [(layer, feature, 1 + feature % clips, edit, json.dumps(effect))
                               for edit in ("ablated", "set")])  # fmt: skip
