"""Writer of an index's SQLite file: atomic, and the same bytes for the same rows in the same order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ...errors import SteeringError
from ...io.files import atomic_file
from .index_schema import APPLICATION, SCHEMA, VERSION

PAGE = 8192
"""Bytes of a page of the file: a feature's curves lie on few of them."""
COLUMNS: dict[str, int] = {
    "meta": 2,
    "layers": 9,
    "clips": 9,
    "sounds": 2,
    "mels": 2,
    "features": 10,
    "examples": 9,
    "neighbours": 6,
    "labels": 9,
    "effects": 5,
    "peaks": 4,
    "words": 5,
}
"""Number of columns of each table, in the schema's order."""


class IndexWriter:
    """Rows into a new index, table by table."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def meta(self, values: Mapping[str, Any]) -> None:
        """Facts of the index, as JSON."""
        words = ((key, json.dumps(value, ensure_ascii=False)) for key, value in sorted(values.items()))
        self.add("meta", words)

    def add(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Rows of a table, each with every column in the schema's order; best in the order of its primary key."""
        places = ", ".join("?" * COLUMNS[table])
        self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


@contextmanager
def new_index(path: str | Path) -> Iterator[IndexWriter]:
    """A writer of a new index, which atomically replaces `path` once the block ends without an error.

    The file depends on the rows, their order and SQLite's version alone.

    Raises:
        SteeringError: it cannot be written there, or SQLite has no full-text search.
    """
    with atomic_file(path, SteeringError) as part:
        try:
            with closing(sqlite3.connect(part, isolation_level=None)) as connection:
                connection.execute(f"PRAGMA page_size = {PAGE}")
                # no journal: `part` takes the place of the old file when it is whole, or never
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
                connection.execute("BEGIN")
                for statement in SCHEMA.split(";"):
                    if statement.strip():
                        connection.execute(statement)
                yield IndexWriter(connection)
                connection.execute("INSERT INTO words (words) VALUES ('optimize')")
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise SteeringError(
                f"SQLite cannot write {path} ({error}); it takes SQLite 3.20 or newer with FTS5, and room on the disk"
            ) from error
