"""Columns of the features of one layer or of several in one order, and their labels to be searched by words."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .index_rows import Layer, LayerTable

Scalar = TypeVar("Scalar", bound=np.generic)


class FeatureRows:
    """Features in the order of layer and number, one row each; all arrays are (rows,).

    Args:
        tables: columns of each layer, by its number.
        layers: what is known of each.
    """

    def __init__(self, tables: Mapping[int, LayerTable], layers: Mapping[int, Layer]) -> None:
        order = sorted(tables)
        columns, sizes = [tables[layer] for layer in order], [len(tables[layer].feature) for layer in order]
        stops = np.cumsum(sizes).tolist()
        self._span = {layer: (stop - size, stop) for layer, size, stop in zip(order, sizes, stops, strict=True)}
        self.layer = np.repeat(np.array(order, np.int64), sizes)
        self.feature = _joined([each.feature for each in columns])
        self.fired, self.clips = _joined([each.fired for each in columns]), _joined([each.clips for each in columns])
        self.peak = _joined([each.peak for each in columns])
        self.density = self.fired / np.repeat([max(layers[layer].frames, 1) for layer in order], sizes)
        numbers: dict[str, int] = {"": 0}
        places = [numbers.setdefault(label, len(numbers)) for each in columns for label in each.label]
        self.name = np.array(places, np.int64)
        """Place in `names` of each one's label."""
        self.names = list(numbers)
        """Labels, each once; the first is the empty one."""

    def __len__(self) -> int:
        return len(self.feature)

    @property
    def layers(self) -> list[int]:
        """Numbers of the layers."""
        return list(self._span)

    def label(self, row: int) -> str:
        """Label of a feature, or ''."""
        return self.names[int(self.name[row])]

    def rows_of(self, layer: int) -> slice:
        """Rows of a layer."""
        return slice(*self._span.get(layer, (0, 0)))

    def find(self, layer: int, features: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of those features of a layer that are here, and whether each is (features,)."""
        own, start = self.feature[self.rows_of(layer)], self.rows_of(layer).start
        if not len(own):
            return np.zeros(0, np.int64), np.zeros(len(features), bool)
        place = np.minimum(np.searchsorted(own, features), len(own) - 1)
        known = np.asarray(own[place] == features, bool)
        return np.asarray(start + place[known], np.int64), known

    def labelled(self, query: str) -> NDArray[np.int64]:
        """Rank of each row's label (rows,) among those that meet a query of FTS5, the best 0; -1 where it does not.

        The index's own table of words holds the label of every feature, and a common word meets tens of thousands of
        rows there; the labels themselves are few.
        """
        ranks = np.full(len(self.names), -1, np.int64)
        for rank, place in enumerate(_matching(self.names, query) if query else ()):
            ranks[place] = rank
        return np.asarray(ranks[self.name], np.int64)


def _matching(texts: Sequence[str], query: str) -> list[int]:
    """Places of the texts that meet a query of FTS5, the best first."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE labels USING fts5 (text)")
        connection.executemany("INSERT INTO labels (rowid, text) VALUES (?, ?)", enumerate(texts, 1))
        rows = connection.execute("SELECT rowid - 1 FROM labels WHERE labels MATCH ? ORDER BY rank, rowid", (query,))
        return [int(row[0]) for row in rows]


def _joined(columns: Sequence[NDArray[Scalar]]) -> NDArray[Scalar]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
