"""Parquet files of a partial index: to share, to merge with others, and to go on from after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import MissingExtraError, SteeringError
from ...io.files import atomic_folder
from ...io.strict_json import parse
from .clip_coding import Peaks, Tally
from .example_candidates import Candidates, empty, joined
from .index_corpus import IndexClip
from .index_schema import BINS
from .index_settings import FORMAT, IndexFacts
from .partial_index import Media, PartialClip, PartialIndex, PartialLayer

ABOUT = "index.json"
"""Name of the file that says what the others beside it are of."""
ROWS = {"clips": 128, "peaks": 4096, "features": 65536, "examples": 65536}
"""Rows of a shard of each table."""


def arrow() -> Any:
    """The package pyarrow. MissingExtraError: it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "partial indices are Parquet files, which need pyarrow; run: pip install 'audiosae-steer[index]'"
        ) from error
    return pyarrow


def _schemas() -> dict[str, Any]:
    a = arrow()
    text, number, real = a.string(), a.uint64(), a.float32()
    return {
        "clips": a.schema([
            ("clip", number), ("recording", text), ("start", a.float64()), ("label", text), ("transcript", text),
            ("group", text), ("source", text), ("licence", text), ("redistributable", a.bool_()),
            ("seconds", a.float64()), ("flac", a.binary()), ("png", a.binary()),
        ]),
        "peaks": a.schema([
            ("layer", a.int32()), ("clip", number), ("frames", a.int32()), ("features", a.binary()),
            ("values", a.binary()),
        ]),
        "features": a.schema([
            ("layer", a.int32()), ("feature", a.int32()), ("fired", a.int64()), ("clips", a.int64()),
            ("total", a.int64()), ("histogram", a.binary()),
        ]),
        "examples": a.schema([
            ("layer", a.int32()), ("feature", a.int32()), ("near", a.bool_()), ("clip", number), ("value", real),
            ("at", a.int32()), ("scale", real), ("curve", a.binary()),
        ]),
    }  # fmt: skip


class Further(NamedTuple):
    """Files and facts beside a partial index."""

    note: dict[str, Any]
    """Content of `index.json`."""
    tables: Mapping[str, tuple[Any, Iterable[tuple[Any, ...]]]]
    """Schema and rows by the table's name."""


def write_part(part: PartialIndex, folder: Path, further: Further | None = None) -> None:
    """Write a partial index into a folder of its own, atomically; equal indices give equal bytes.

    Args:
        part: the index.
        folder: the folder; one with a partial index in it is replaced.
        further: what is to lie beside it.

    Raises:
        SteeringError: the folder holds something else, or cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    rows: dict[str, Iterator[tuple[Any, ...]]] = {
        "clips": _clip_rows(part), "peaks": _peak_rows(part), "features": _feature_rows(part),
        "examples": _example_rows(part),
    }  # fmt: skip
    schemas = _schemas()
    with atomic_folder(folder, check_part, SteeringError) as new:
        for name, each in rows.items():
            write_shards(new, name, schemas[name], each, ROWS[name])
        for name, (schema, own) in () if further is None else further.tables.items():
            write_shards(new, name, schema, iter(own), ROWS["examples"])
        about = {"format": FORMAT, **part.facts.to_json(), **(further.note if further is not None else {})}
        (new / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")


def check_part(folder: Path) -> None:
    """Refuse a folder that holds anything else than a partial index. SteeringError: it does."""
    if folder.exists() and not folder.is_dir():
        raise SteeringError(f"{folder} is there already, and is no folder; name a new folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise SteeringError(f"{folder} is a folder with other files in it, which are left unchanged; name a new folder")


def write_shards(folder: Path, name: str, schema: Any, rows: Iterator[tuple[Any, ...]], most: int) -> None:
    """Write rows of a table into `name`-00000.parquet and so on, so many rows each."""
    a = arrow()
    number = 0
    while (taken := list(islice(rows, most))) or not number:
        columns = list(zip(*taken, strict=True)) or [()] * len(schema)
        table = a.table([a.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
        a.parquet.write_table(table, folder / f"{name}-{number:05d}.parquet", compression="zstd", row_group_size=8192)
        number += 1


def read_part(folder: Path) -> PartialIndex:
    """A partial index from its files; sound and pictures stay on disk until they are asked for.

    Raises:
        SteeringError: there is none, it is of another format, or it is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    facts = read_about(folder)
    with reading(folder):
        clips = {}
        wanted = [*_schemas()["clips"].names[:10]]
        for path in shards_of(folder, "clips"):
            for row, each in enumerate(table_rows(path, wanted)):
                key, *about, seconds = each
                clips[key] = PartialClip(IndexClip(*about), seconds, partial(_media, path, row))
        layers = {each.layer: _read_layer(folder, each.layer, each.features) for each in facts.layers}
        return PartialIndex(facts, clips, layers)


def read_about(folder: Path) -> IndexFacts:
    """The facts of a partial index. SteeringError: there is none, or it is of another format."""
    try:
        content = parse((folder / ABOUT).read_bytes())
        if content.pop("format") != FORMAT:
            raise SteeringError(f"{folder} holds an index of another format; build it anew with this version")
        names = IndexFacts.__dataclass_fields__
        return IndexFacts.from_json({name: value for name, value in content.items() if name in names})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SteeringError(
            f"{folder} holds no index that can be read ({error}); expected {ABOUT} with Parquet files beside it"
        ) from error


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Tell errors within the block as damage of a folder's files.

    Raises:
        SteeringError: a file cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    a = arrow()
    try:
        yield
    except (a.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        why = (str(error).splitlines() or [repr(error)])[0]
        raise SteeringError(
            f"the index in {folder} is damaged ({why}); remove it, and build or fetch it again"
        ) from error


def shards_of(folder: Path, name: str) -> list[Path]:
    """Shards of a table, in order. SteeringError: there is none."""
    found = sorted(folder.glob(f"{name}-[0-9][0-9][0-9][0-9][0-9].parquet"))
    if not found:
        raise SteeringError(f"{folder} holds no {name}-00000.parquet; fetch or build the index again")
    return found


def table_rows(path: Path, columns: Sequence[str], filters: Any = None) -> Iterator[tuple[Any, ...]]:
    """Rows of a shard."""
    table = arrow().parquet.read_table(path, columns=list(columns), filters=filters, use_threads=False)
    return zip(*(column.to_pylist() for column in table.select(list(columns)).columns), strict=True)


@lru_cache(maxsize=2)
def _encoded(path: Path, modified: int) -> list[tuple[bytes | None, bytes]]:
    return list(table_rows(path, ("flac", "png")))


def _media(path: Path, row: int) -> Media:
    return Media(*_encoded(path, path.stat().st_mtime_ns)[row])


def _clip_rows(part: PartialIndex) -> Iterator[tuple[Any, ...]]:
    for clip in part.in_order():
        yield (clip.about.key, *clip.about, clip.seconds, *clip.media())


def _peak_rows(part: PartialIndex) -> Iterator[tuple[Any, ...]]:
    keys = [clip.about.key for clip in part.in_order()]
    for layer, own in sorted(part.layers.items()):
        for key in keys:
            peaks = own.peaks[key]
            yield (layer, key, peaks.frames, peaks.features.astype("<u2").tobytes(),
                   peaks.values.astype("<f2").tobytes())  # fmt: skip


def _feature_rows(part: PartialIndex) -> Iterator[tuple[Any, ...]]:
    for layer, own in sorted(part.layers.items()):
        columns = (each.tolist() for each in own.tally[:3])
        for feature, row in enumerate(zip(*columns, strict=True)):
            yield (layer, feature, *row, own.tally.counts[feature].astype("<i8").tobytes())


def _example_rows(part: PartialIndex) -> Iterator[tuple[Any, ...]]:
    for layer, own in sorted(part.layers.items()):
        for near, rows in ((False, own.fired), (True, own.near)):
            feature, *rest = (column.tolist() for column in rows)
            yield from zip(_of(layer, feature), feature, _of(near, feature), *rest, strict=True)


def _of(value: Any, rows: Sequence[Any]) -> Iterable[Any]:
    return (value for _ in rows)


def _read_layer(folder: Path, layer: int, features: int) -> PartialLayer:
    own = [("layer", "=", layer)]
    peaks: dict[int, Peaks] = {}
    for path in shards_of(folder, "peaks"):
        for key, frames, firing, values in table_rows(path, ("clip", "frames", "features", "values"), own):
            peaks[key] = Peaks(frames, np.frombuffer(firing, "<u2"), np.frombuffer(values, "<f2"))
    tally = Tally.none(features)
    for path in shards_of(folder, "features"):
        for feature, *counts, histogram in table_rows(path, ("feature", "fired", "clips", "total", "histogram"), own):
            for column, value in zip(tally[:3], counts, strict=True):
                column[feature] = value
            tally.counts[feature] = np.frombuffer(histogram, "<i8", BINS)
    rows: dict[bool, list[Candidates]] = {False: [], True: []}
    names = Candidates._fields
    for path in shards_of(folder, "examples"):
        for near in (False, True):
            taken = list(zip(*table_rows(path, names, [*own, ("near", "=", near)]), strict=True))
            if taken:
                rows[near].append(_candidates(taken))
    return PartialLayer(tally, joined(rows[False]), joined(rows[True]), peaks)


def _candidates(columns: Sequence[Any]) -> Candidates:
    curves = np.empty(len(columns[-1]), object)
    curves[:] = columns[-1]
    kinds = [np.asarray(column).dtype for column in empty()[:-1]]
    made = [np.asarray(own, kind) for own, kind in zip(columns[:-1], kinds, strict=True)]
    return Candidates._make([*made, curves])
