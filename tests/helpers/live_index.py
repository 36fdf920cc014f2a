"""Small real index for the live part's tests: tiny.en's layer 4 with its shipped SAE, over a few bundled clips."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from make import make_sae

from audiosae_steer.data.activations.by_clip import clip_residuals
from audiosae_steer.data.audio import load_audio
from audiosae_steer.data.log_mel import log_mel, mel_power
from audiosae_steer.evaluate.page_parts.mel_png import mel_png
from audiosae_steer.explorer.index.index_file import new_index
from audiosae_steer.explorer.index.index_schema import BINS, bin_of, pack_curve
from audiosae_steer.io.hub.read import sha256_of
from audiosae_steer.io.shipped import checkpoints_dir
from audiosae_steer.models.registry import fingerprint
from audiosae_steer.models.sites import Site
from audiosae_steer.sae.load import load_sae

CLIPS = ("fan", "rain", "speech-01", "speech-02")
"""Bundled clips; tiny.en writes "I'm going to go ahead and do that." for the fan."""
LAYER = 4
FEATURES, WIDTH = 40, 16
"""Of the codec's SAE."""


def live_index(path: Path, model: Any) -> Path:
    """Write the index. Enough for the live part and the feature pages; no neighbours, no effects."""
    file = checkpoints_dir() / "whisper-tiny.en" / f"encoder-{LAYER}.safetensors"
    sae = load_sae(file).float()
    sounds = [load_audio(checkpoints_dir() / "clips" / f"{name}.flac") for name in CLIPS]
    with torch.no_grad():
        codes = [sae.encode(x).numpy() for x in clip_residuals(model, Site(LAYER), sounds)]
    every = np.concatenate(codes)
    with new_index(path) as writer:
        writer.meta({
            "model": "tiny.en", "library": "openai", "family": "whisper", "weights": fingerprint(model),
            "made": "0.0.0", "labels": ["noise", "speech"], "sounds": True, "seconds": sum(map(len, sounds)) / 16000,
        })  # fmt: skip
        source = json.dumps({"file": file.name})
        writer.add("layers", [(LAYER, f"encoder layer {LAYER}", source, sha256_of(file), sae.n_features, sae.d_model,
                               50.0, len(CLIPS), len(every))])  # fmt: skip
        for number, (name, sound) in enumerate(zip(CLIPS, sounds, strict=True), 1):
            label = name.partition("-")[0] if name.startswith("speech") else "noise"
            writer.add("clips", [(number, f"clips/{name}.flac", 0.0, len(sound) / 16000, label, "", "", "CC0-1.0", 1)])
            writer.add("sounds", [(number, (checkpoints_dir() / "clips" / f"{name}.flac").read_bytes())])
            writer.add("mels", [(number, mel_png(log_mel(mel_power(sound))))])
        writer.add("features", [_feature(i, every[:, i], codes) for i in range(sae.n_features)])
        for number, code in enumerate(codes, 1):
            firing = np.flatnonzero(code.max(0) > 0)
            packed = (firing.astype("<u2"), code.max(0)[firing].astype("<f2"))
            writer.add("peaks", [(LAYER, number, *(zlib.compress(part.tobytes()) for part in packed))])
        writer.add("examples", [row for i in _most_active(every) for row in _examples(i, codes)])
    return path


def codec_index(folder: Path) -> Path:
    """Write an index of a small EnCodec's latents, and its SAE of random weights beside it; no clips."""
    make_sae("relu", WIDTH, FEATURES).save(folder / "latents.safetensors")
    digest = sha256_of(folder / "latents.safetensors")
    with new_index(folder / "index.sqlite") as writer:
        writer.meta({
            "model": "codec", "library": "transformers", "family": "encodec", "weights": "", "made": "0.0.0",
            "labels": [], "sounds": False, "seconds": 1.0,
        })  # fmt: skip
        source = json.dumps({"file": "latents.safetensors"})
        writer.add("layers", [(1, "encoder layer 1", source, digest, FEATURES, WIDTH, 75.0, 0, 75)])
        writer.add("features", [(1, i, 0, 0, 0.0, 0.0, bytes(4 * BINS), "", None, None) for i in range(FEATURES)])
    return folder / "index.sqlite"


def _feature(feature: int, values: np.ndarray, codes: list[np.ndarray]) -> tuple[Any, ...]:
    firing = values[values > 0]
    counts = np.bincount(bin_of(firing), minlength=BINS).astype("<u4")
    clips = sum(bool((code[:, feature] > 0).any()) for code in codes)
    mean = float(firing.mean()) if len(firing) else 0.0
    return (LAYER, feature, len(firing), clips, float(values.max(initial=0.0)), mean, counts.tobytes(), "", None, None)


def _most_active(every: np.ndarray) -> list[int]:
    return [int(i) for i in np.argsort(-every.max(0))[:40]]


def _examples(feature: int, codes: list[np.ndarray]) -> list[tuple[Any, ...]]:
    rows = []
    ranked = sorted(range(len(codes)), key=lambda clip: -codes[clip][:, feature].max())
    for rank, clip in enumerate(ranked):
        curve = codes[clip][:, feature]
        if curve.max() > 0:
            scale, packed = pack_curve(curve)
            at = float(curve.argmax() / 50)
            rows.append((LAYER, feature, "top", rank, clip + 1, float(curve.max()), at, scale, packed))
    return rows
