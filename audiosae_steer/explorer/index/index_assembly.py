"""Assembly of the SQLite file from a whole index and what was found in it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...io.progress import Tell
from .clip_coding import FIXED, dense
from .example_candidates import examples
from .index_file import IndexWriter, new_index
from .index_findings import Enriched, Fired, Neighbours
from .index_schema import KINDS
from .index_settings import LayerFacts
from .partial_index import PartialClip, PartialIndex, PartialLayer
from .text_effects import FeatureEffect


class LayerFindings(NamedTuple):
    """Findings of one layer."""

    cosine: Neighbours
    together: Neighbours
    labels: tuple[Enriched, ...]
    places: np.ndarray[Any, np.dtype[np.float64]]
    """(F, 2); NaN of features that never fire."""
    effects: tuple[FeatureEffect, ...]


def fired_on(index: PartialIndex, layer: int) -> Fired:
    """(clips, F): the feature fires on the clip, clips in order."""
    own = index.layers[layer]
    found = np.zeros((len(index.clips), len(own.tally.fired)), bool)
    for row, clip in enumerate(index.in_order()):
        found[row, own.peaks[clip.about.key].features] = True
    return found


def assemble(index: PartialIndex, findings: dict[int, LayerFindings], path: Path, progress: Tell | None = None) -> None:
    """Write the SQLite file, atomically; the same index and findings give the same bytes.

    Args:
        index: the whole index.
        findings: what was found of each layer.
        path: the file.
        progress: called with what is being done, how many layers are done, and how many there are.

    Raises:
        SteeringError: it cannot be written.
    """
    from importlib.metadata import version

    facts, clips = index.facts, index.in_order()
    numbers = {clip.about.key: number for number, clip in enumerate(clips, 1)}
    layers = sorted(facts.layers, key=lambda each: each.layer)
    with new_index(path) as writer:
        writer.meta({
            "model": facts.model, "library": facts.library, "family": facts.family, "weights": facts.weights,
            "made": version("audiosae-steer"), "labels": sorted({clip.about.label for clip in clips} - {""}),
            "sounds": bool(facts.settings["sounds"]), "seconds": round(sum(clip.seconds for clip in clips), 3),
        })  # fmt: skip
        writer.add("layers", (_layer_row(index, each) for each in layers))
        _write_clips(writer, clips)
        for done, each in enumerate(layers):
            if progress is not None:
                progress("writing the index", done, len(layers))
            _write_layer(writer, each, index, numbers, findings[each.layer])
        if progress is not None:
            progress("writing the index", len(layers), len(layers))


def _layer_row(index: PartialIndex, facts: LayerFacts) -> tuple[Any, ...]:
    frames = sum(own.frames for own in index.layers[facts.layer].peaks.values())
    spec = json.dumps(facts.sae, sort_keys=True, ensure_ascii=False)
    return (facts.layer, facts.site, spec, facts.sae_sha256, facts.features, facts.width, facts.rate,
            len(index.clips), frames)  # fmt: skip


def _write_clips(writer: IndexWriter, clips: list[PartialClip]) -> None:
    for number, clip in enumerate(clips, 1):
        about, media = clip.about, clip.media()
        writer.add("clips", [(number, about.recording, about.start, clip.seconds, about.label, about.transcript,
                              about.source, about.licence, int(about.redistributable))])  # fmt: skip
        if media.flac is not None:
            writer.add("sounds", [(number, media.flac)])
        writer.add("mels", [(number, media.png)])
        if about.transcript:
            writer.add("words", [(about.transcript, "transcript", None, None, number)])


def _write_layer(
    writer: IndexWriter, facts: LayerFacts, index: PartialIndex, numbers: dict[int, int], found: LayerFindings
) -> None:
    layer, own = facts.layer, index.layers[facts.layer]
    named = {row.feature: row.label for row in found.labels if row.rank == 0 and row.low > 1}
    writer.add("features", _feature_rows(layer, own, found, named))
    writer.add("examples", _example_rows(facts, own, numbers, index.facts.settings))
    for kind, rows in (("cosine", found.cosine), ("together", found.together)):
        columns = (column.tolist() for column in rows)
        writer.add("neighbours", ((layer, feature, kind, *rest) for feature, *rest in zip(*columns, strict=True)))
    writer.add("labels", ((layer, *row) for row in found.labels))
    effects = sorted(found.effects, key=lambda each: (each.feature, each.edit, numbers[each.clip]))
    writer.add("effects", ((layer, each.feature, numbers[each.clip], each.edit, each.json()) for each in effects))
    by_number = sorted((numbers[key], peaks) for key, peaks in own.peaks.items())
    packed = ((number, _deflated(peaks.features, "<u2"), _deflated(peaks.values, "<f2")) for number, peaks in by_number)
    writer.add("peaks", ((layer, *row) for row in packed))
    writer.add("words", ((label, "label", layer, feature, None) for feature, label in sorted(named.items())))


def _feature_rows(
    layer: int, own: PartialLayer, found: LayerFindings, named: dict[int, str]
) -> Iterator[tuple[Any, ...]]:
    peak = np.zeros(len(own.tally.fired))
    np.maximum.at(peak, own.fired.feature, own.fired.value.astype(np.float64))
    for feature, (fired, clips, total) in enumerate(zip(*(each.tolist() for each in own.tally[:3]), strict=True)):
        mean = total / FIXED / fired if fired else 0.0
        x, y = (None if np.isnan(each) else float(each) for each in found.places[feature])
        counts = np.minimum(own.tally.counts[feature], 2**32 - 1).astype("<u4").tobytes()
        yield (layer, feature, fired, clips, float(peak[feature]), mean, counts, named.get(feature, ""), x, y)


def _example_rows(
    facts: LayerFacts, own: PartialLayer, numbers: dict[int, int], settings: dict[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """Examples in the order of their primary key."""
    chosen = examples(own.fired, int(settings["top"]), int(settings["each"]))
    picked = {kind: own.fired.pick(rows) for kind, rows in chosen.items()} | {"near": own.near}
    order = []
    for kind in sorted(KINDS):
        feature = picked[kind].feature.tolist()
        rank = 0
        for row, number in enumerate(feature):
            rank = rank + 1 if row and feature[row - 1] == number else 0
            order.append((number, kind, rank, row))
    for number, kind, rank, row in sorted(order):
        each = picked[kind]
        clip, scale = int(each.clip[row]), float(each.scale[row])
        levels = dense(each.curve[row], own.peaks[clip].frames)
        value = float(each.value[row]) if kind != "near" else -float(each.value[row])
        at = round((int(each.at[row]) + 0.5) / facts.rate, 3)
        yield (facts.layer, number, kind, rank, numbers[clip], value, at, scale, zlib.compress(levels.tobytes(), 6))


def _deflated(values: np.ndarray[Any, Any], kind: str) -> bytes:
    return zlib.compress(values.astype(kind).tobytes(), 6)
