"""Audio and its metadata in a parquet file with the columns of data sets on the Hub."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from ..errors import AudioError, MissingExtraError
from .metadata import GROUPS, LABELS, NAMES, TEXTS, ClipMetadata

MAX_SOUND = 256 * 2**20
"""Bytes of one encoded file: 25 minutes of uncompressed CD audio."""
MAX_ROW_GROUP = 4 * 2**30
"""Bytes of one group of rows, uncompressed; a damaged or hostile file may claim any number."""
ROWS_AT_ONCE = 8
"""So that no more than eight encoded clips are in memory, of `MAX_SOUND` each."""


class Parquet:
    """One parquet file: the metadata of all rows, and their audio one by one.

    Audio is streamed in the file's order, a few rows at a time: reading it in that order is fastest.

    Raises:
        AudioError: it is not a parquet file, it is damaged, or no column of it holds audio.
        MissingExtraError: pyarrow is not installed.
    """

    rows: list[ClipMetadata]
    """Metadata, in the file's order."""

    def __init__(self, path: Path, name: str) -> None:
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError(
                "reading parquet files needs pyarrow; run: pip install 'audiosae-steer[make]'"
            ) from error
        self.name = name
        with self._arrow_errors():
            # not read ahead: a group of rows may hold a thousand sounds
            self._file: Any = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
            self._column = self._find_sound()
            groups = [self._file.metadata.row_group(i) for i in range(self._file.num_row_groups)]
            for group in groups:
                self._refuse_giant(group)
            self._starts = [0, *accumulate(group.num_rows for group in groups)]
            self.rows = self._read_rows()
        self._open: int | None = None
        self._next, self._sounds = 0, iter([])  # type: tuple[int, Iterator[Any]]
        self._last: tuple[int, bytes] | None = None

    def sound(self, row: int) -> bytes:
        """The encoded audio file in a row.

        Raises:
            AudioError: the row is empty or too large, or the file is damaged there.
        """
        if self._last is not None and self._last[0] == row:
            return self._last[1]
        group = bisect_right(self._starts, row) - 1
        found: Any = None
        with self._arrow_errors():
            if group != self._open or row < self._next:
                self._open, self._next, self._sounds = group, self._starts[group], self._stream(group)
            for value in islice(self._sounds, row - self._next + 1):
                found = value
            self._next = row + 1
            size = len(found.as_buffer()) if found is not None and found.is_valid else 0
        if not size:
            raise AudioError(f"row {row} of {self.name} holds no sound")
        if size > MAX_SOUND:
            raise AudioError(f"row {row} of {self.name} holds {size / 2**20:.0f} MiB, which no clip here is")
        self._last = row, found.as_py()
        return self._last[1]

    def _stream(self, group: int) -> Iterator[Any]:
        for batch in self._file.iter_batches(
            ROWS_AT_ONCE, row_groups=[group], columns=[self._column], use_threads=False
        ):
            column = batch.column(0)
            yield from column if "." not in self._column else column.field(0)

    def _find_sound(self) -> str:
        from pyarrow import types

        def holds_bytes(kind: Any) -> bool:
            return bool(types.is_binary(kind) or types.is_large_binary(kind))

        schema = self._file.schema_arrow
        found = []
        for field in schema:
            inside = field.type.get_field_index("bytes") if types.is_struct(field.type) else -1
            if inside >= 0 and holds_bytes(field.type.field(inside).type):
                found.append(f"{field.name}.bytes")
            elif holds_bytes(field.type) and field.name == "audio":
                found.append(field.name)
        if not found:
            raise AudioError(
                f"no column of {self.name} holds sound: expected one of {{bytes, path}}, as data sets on the Hub have; "
                f"its columns are {', '.join(schema.names[:12]) or 'none'}"
            )
        return min(found, key=lambda column: column.partition(".")[0] != "audio")

    def _refuse_giant(self, group: Any) -> None:
        columns = [group.column(i) for i in range(group.num_columns)]
        size = sum(column.total_uncompressed_size for column in columns)
        if size > MAX_ROW_GROUP:
            raise AudioError(
                f"{self.name} holds {size / 2**30:.0f} GiB in one group of rows, too much to read; write it again "
                "with smaller groups"
            )

    def _read_rows(self) -> list[ClipMetadata]:
        names = self._file.schema_arrow.names
        by_name = {name.lower(): name for name in reversed(names)}
        inner = self._column.removesuffix(".bytes") + ".path"
        wanted = [_first(by_name, NAMES), _first(by_name, TEXTS), _first(by_name, LABELS), _first(by_name, GROUPS)]
        paths = self._strings(inner) if inner in self._leaves() else None
        columns = [self._strings(column) if column is not None else None for column in wanted]
        columns[0] = columns[0] or paths
        count = self._file.metadata.num_rows
        return [ClipMetadata(*(column[i] if column is not None else None for column in columns)) for i in range(count)]

    def _leaves(self) -> list[str]:
        group = self._file.metadata.schema
        return [group.column(i).path for i in range(len(group))]

    def _strings(self, column: str) -> list[str | None] | None:
        from pyarrow import types

        chunks = self._file.read(columns=[column], use_threads=False).column(0).chunks
        chunks = [chunk.field(0) if types.is_struct(chunk.type) else chunk for chunk in chunks]
        if any(types.is_nested(chunk.type) for chunk in chunks):
            return None
        values = [value for chunk in chunks for value in chunk.to_pylist()]
        return [None if value is None or value == "" else str(value) for value in values]

    @contextmanager
    def _arrow_errors(self) -> Iterator[None]:
        """Turn Arrow's errors into AudioError."""
        from pyarrow import ArrowException

        try:
            yield
        except (ArrowException, OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise AudioError(
                f"{self.name} is no parquet file that can be read ({reason}); it is damaged, or another kind of file"
            ) from error


def _first(by_name: dict[str, str], wanted: Sequence[str]) -> str | None:
    return next((by_name[name] for name in wanted if name in by_name), None)
