"""Connections to an index's SQLite file: read-only, bounded, kept for the next look-up, from any thread."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONNECTIONS = 4
"""Open connections that are kept for the next look-up."""
CACHE_KIB = 4096
"""Pages of the file that each connection keeps in memory."""
LONGEST_VALUE = 64 << 20
"""Bytes of the longest text or BLOB that is read from an index, which may be untrusted."""


class IndexConnections:
    """Look-ups in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection_lock, self._idle = threading.Lock(), list[sqlite3.Connection]()

    def close(self) -> None:
        """Close its connections; a look-up opens new ones."""
        with self._connection_lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _row(self, sql: str, *values: Any) -> Any:
        found = self._rows(sql, *values)
        return found[0] if found else None

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        if any(isinstance(value, int) and abs(value) >= 1 << 63 for value in values):
            return []  # no number of an index is that large, and SQLite knows none
        with self._connected() as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._connection_lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = _opened(self.path)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._connection_lock:
            keep = len(self._idle) < CONNECTIONS
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    # of an untrusted file, views and triggers call no function, and damaged pages are seen
    for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", f"cache_size = -{CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
