"""Partial indices of made-up residuals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from audiosae_steer import SAE
from audiosae_steer.evaluate.page_parts.mel_png import mel_png
from audiosae_steer.explorer.index.clip_coding import code
from audiosae_steer.explorer.index.index_assembly import LayerFindings
from audiosae_steer.explorer.index.index_build import findings_of
from audiosae_steer.explorer.index.index_corpus import IndexClip
from audiosae_steer.explorer.index.index_settings import IndexFacts, IndexSettings, LayerFacts
from audiosae_steer.explorer.index.index_source import IndexedSAE
from audiosae_steer.explorer.index.partial_index import LayerCollector, Media, PartialClip, PartialIndex
from audiosae_steer.models.sites import Site

SETTINGS = IndexSettings(top=3, each=2, neighbours=4)
FEATURES, WIDTH, CLIPS = 16, 6, 12
LAYERS = (2, 5)


@cache
def sae_of(layer: int) -> SAE:
    rng = torch.Generator().manual_seed(layer)
    rows, columns = torch.randn(FEATURES, WIDTH, generator=rng), torch.randn(FEATURES, WIDTH, generator=rng)
    return SAE(rows, torch.linspace(-0.5, -5, FEATURES), columns, torch.zeros(WIDTH), gate="relu")


def facts() -> IndexFacts:
    layers = tuple(
        LayerFacts(layer=layer, site=str(Site(layer)), sae={"file": f"encoder-{layer}.safetensors"},
                   sae_sha256="0" * 64, features=FEATURES, width=WIDTH, rate=50.0)
        for layer in LAYERS
    )  # fmt: skip
    return IndexFacts(
        model="made", library="openai", family="whisper", weights="", layers=layers, settings=SETTINGS.of_parts
    )


def clip(number: int) -> IndexClip:
    label = ("cough", "rain", "")[number % 3]
    text = "the rain is loud" if label == "rain" else ""
    return IndexClip(f"take-{number // 2}.wav", 30.0 * (number % 2), label, text, f"take-{number // 2}", "made", "CC0",
                     True)  # fmt: skip


def part_of(numbers: Sequence[int]) -> PartialIndex:
    """The partial index of these clips."""
    collectors = {layer: LayerCollector(FEATURES, SETTINGS.top, SETTINGS.each) for layer in LAYERS}
    clips = {}
    for number in numbers:
        rng = np.random.default_rng(number)
        frames = int(rng.integers(5, 60))
        x = torch.from_numpy(rng.normal(size=(frames, WIDTH)).astype(np.float32))
        about = clip(number)
        for layer, collector in collectors.items():
            collector.add(code(x, sae_of(layer).weights(torch.float32)), about.key)
        picture = mel_png(rng.normal(size=(2 * frames, 80)).astype(np.float32))
        clips[about.key] = PartialClip(about, frames / 50, partial(Media, bytes([number]) * 9, picture))
    return PartialIndex(facts(), clips, {layer: collector.layer() for layer, collector in collectors.items()})


def found_in(index: PartialIndex) -> dict[int, LayerFindings]:
    saes = [IndexedSAE(Site(layer), sae_of(layer), {}, "") for layer in LAYERS]
    return {own.site.layer or 0: findings_of(index, own, SETTINGS) for own in saes}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
