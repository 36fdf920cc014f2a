"""Parquet files of what was found in an index, beside those of the index itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .index_assembly import LayerFindings
from .index_findings import Enriched, Neighbours
from .part_files import arrow, reading, shards_of, table_rows
from .text_effects import FeatureEffect


def finding_tables(findings: dict[int, LayerFindings]) -> dict[str, tuple[Any, Iterator[tuple[Any, ...]]]]:
    """Schema and rows of each table of findings, by its name. MissingExtraError: pyarrow is not installed."""
    rows = {
        "neighbours": _neighbour_rows(findings), "labels": _label_rows(findings), "places": _place_rows(findings),
        "effects": _effect_rows(findings),
    }  # fmt: skip
    return {name: (schema, rows[name]) for name, schema in _schemas().items()}


def read_findings(folder: Path, layers: list[tuple[int, int]]) -> dict[int, LayerFindings]:
    """Findings by layer, from their files.

    Args:
        folder: the folder of the index's Parquet files.
        layers: number of each layer, and of its features.

    Raises:
        SteeringError: there are none, or they are damaged.
        MissingExtraError: pyarrow is not installed.
    """
    with reading(folder):
        found = {}
        for layer, features in layers:
            cosine, together = (_neighbours(folder, layer, kind) for kind in ("cosine", "together"))
            labels = tuple(Enriched(*row[1:]) for row in _rows(folder, "labels", layer))
            at = np.full((features, 2), np.nan)
            for _, feature, x, y in _rows(folder, "places", layer):
                at[feature] = x, y
            effects = tuple(_effect(*row[1:]) for row in _rows(folder, "effects", layer))
            found[layer] = LayerFindings(cosine, together, labels, at, effects)
        return found


def _schemas() -> dict[str, Any]:
    a = arrow()
    text, number, real = a.string(), a.int32(), a.float64()
    key = [("layer", number), ("feature", number)]
    return {
        "neighbours": a.schema([*key, ("kind", text), ("rank", number), ("other", number), ("value", real)]),
        "labels": a.schema([
            *key, ("rank", number), ("label", text), ("clips", number), ("fired", number), ("lift", real),
            ("low", real), ("high", real),
        ]),
        "places": a.schema([*key, ("x", real), ("y", real)]),
        "effects": a.schema([*key, ("clip", a.uint64()), ("edit", text), ("effect", text)]),
    }  # fmt: skip


def _neighbour_rows(findings: dict[int, LayerFindings]) -> Iterator[tuple[Any, ...]]:
    for layer, found in sorted(findings.items()):
        both = []
        for kind, own in (("cosine", found.cosine), ("together", found.together)):
            feature, *rest = (column.tolist() for column in own)
            both += [(each, kind, *row) for each, *row in zip(feature, *rest, strict=True)]
        yield from ((layer, *row) for row in sorted(both))


def _label_rows(findings: dict[int, LayerFindings]) -> Iterator[tuple[Any, ...]]:
    return ((layer, *row) for layer, found in sorted(findings.items()) for row in found.labels)


def _place_rows(findings: dict[int, LayerFindings]) -> Iterator[tuple[Any, ...]]:
    for layer, found in sorted(findings.items()):
        for feature in np.flatnonzero(~np.isnan(found.places[:, 0])).tolist():
            yield (layer, feature, *found.places[feature].tolist())


def _effect_rows(findings: dict[int, LayerFindings]) -> Iterator[tuple[Any, ...]]:
    for layer, found in sorted(findings.items()):
        for own in sorted(found.effects, key=lambda own: (own.feature, own.edit, own.clip)):
            yield (layer, own.feature, own.clip, own.edit, own.json())


def _rows(folder: Path, name: str, layer: int) -> Iterator[tuple[Any, ...]]:
    columns = _schemas()[name].names
    for path in shards_of(folder, name):
        yield from table_rows(path, columns, [("layer", "=", layer)])


def _neighbours(folder: Path, layer: int, kind: str) -> Neighbours:
    rows = [row for row in _rows(folder, "neighbours", layer) if row[2] == kind]
    columns = list(zip(*rows, strict=True)) or [()] * 6
    feature, rank, other = (np.asarray(columns[i], np.int64) for i in (1, 3, 4))
    return Neighbours(feature, rank, other, np.asarray(columns[5], np.float64))


def _effect(feature: int, clip: int, edit: str, effect: str) -> FeatureEffect:
    own = json.loads(effect)
    words = tuple((word, change) for word, change in own["words"])
    first = (own["first"][0], own["first"][1])
    return FeatureEffect(feature, clip, edit, own["end"], first, words, own["before"], own["after"])
