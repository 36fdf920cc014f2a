"""Index that is served: read-only look-ups in its SQLite file, from any thread."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io import strict_json
from .index_rows import Clip, Effect, Enriched, Example, Feature, Firing, Layer, LayerTable, Neighbour
from .index_schema import APPLICATION, BINS, CURVE_LEVELS, KINDS, VERSION, bin_of

CONNECTIONS = 4
"""Open connections that are kept for the next look-up."""
CACHE_KIB = 4096
"""Pages of the file that each connection keeps in memory."""
LONGEST_VALUE = 64 << 20
"""Bytes of the longest text or BLOB that is read from an index, which may be untrusted."""
LONGEST_CURVE = 1 << 20
"""Bytes of an inflated curve or list of peaks."""
LAYERS_KEPT = 16
"""Layers whose columns are kept in memory: a few hundred kB each."""
TAILS_KEPT = 4
"""Layers whose histograms are kept: 256 bytes a feature."""
_CLIP = "c.id, c.recording, c.start, c.seconds, c.label, c.transcript, c.source, c.licence, c.redistributable"
Kept = TypeVar("Kept")


class Index:
    """An explorer's index, opened read-only.

    Args:
        path: the SQLite file.

    Raises:
        SteeringError: it is not there, is no index, or one of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock, self._idle = threading.Lock(), list[sqlite3.Connection]()
        self._tables, self._tails = OrderedDict[int, LayerTable](), OrderedDict[int, NDArray[np.int64]]()
        if not self.path.is_file():
            raise SteeringError(f"there is no index {self.path}; make one with: audiosae-steer explore build")
        try:
            with self._connected() as connection:
                application = connection.execute("PRAGMA application_id").fetchone()[0]
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                if application != APPLICATION:
                    raise SteeringError(f"{self.path} is an SQLite file, but no explorer's index")
                if version != VERSION:
                    raise SteeringError(
                        f"{self.path} is an index of format {version}, and this version reads format {VERSION}; "
                        "build it again with: audiosae-steer explore build"
                    )
                rows = connection.execute("SELECT * FROM layers ORDER BY layer").fetchall()
                self.layers = {row[0]: Layer(*row) for row in rows}
                meta = connection.execute("SELECT key, value FROM meta").fetchall()
                self.meta: dict[str, Any] = {key: strict_json.parse(value, lenient=True) for key, value in meta}
        except (sqlite3.Error, ValueError, TypeError) as error:
            self.close()
            raise SteeringError(f"{self.path} is no explorer's index: {error}") from error
        if not self.layers:
            raise SteeringError(f"{self.path} is an index without a layer; build it again")

    def close(self) -> None:
        """Close its connections; a look-up opens new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @property
    def keeps_sound(self) -> bool:
        """True if the index has the clips' sound, and not only pictures and timings."""
        return bool(self.meta.get("sounds"))

    @property
    def classes(self) -> list[str]:
        """Labels that clips bear."""
        found = self.meta.get("labels")
        return [str(each) for each in found] if isinstance(found, list) else []

    def feature(self, layer: int, feature: int) -> Feature | None:
        """A feature's statistics; None if there is none of that number."""
        row = self._row("SELECT * FROM features WHERE layer = ? AND feature = ?", layer, feature)
        if row is None:
            return None
        layer, feature, fired, clips, peak, mean, histogram, label, x, y = row
        return Feature(layer, feature, fired, clips, peak, mean, _counts(histogram), label, x, y)

    def examples(self, layer: int, feature: int, kinds: Sequence[str] = KINDS, most: int = 100) -> list[Example]:
        """Its clips with their curves, kind by kind in the order of `KINDS`, at most `most` of each."""
        rows = self._rows(
            f"SELECT e.kind, e.rank, e.peak, e.at, e.scale, e.curve, {_CLIP} FROM examples e JOIN clips c "
            f"ON c.id = e.clip WHERE e.layer = ? AND e.feature = ? AND e.kind IN ({_places(kinds)}) AND e.rank < ?",
            layer, feature, *kinds, most,
        )  # fmt: skip
        found = [
            Example(kind, rank, _clip(rest), peak, at, _curve(scale, packed))
            for kind, rank, peak, at, scale, packed, *rest in rows
        ]
        return sorted(found, key=lambda each: (KINDS.index(each.kind), each.rank))

    def example_on(self, layer: int, feature: int, clip: int) -> Example | None:
        """The feature's example on that clip, if it is among those that are kept."""
        row = self._row(
            f"SELECT e.kind, e.rank, e.peak, e.at, e.scale, e.curve, {_CLIP} FROM examples e JOIN clips c "
            "ON c.id = e.clip WHERE e.layer = ? AND e.feature = ? AND e.clip = ? LIMIT 1",
            layer, feature, clip,
        )  # fmt: skip
        if row is None:
            return None
        kind, rank, peak, at, scale, packed, *rest = row
        return Example(kind, rank, _clip(rest), peak, at, _curve(scale, packed))

    def neighbours(self, layer: int, feature: int) -> list[Neighbour]:
        """Features like it, the nearest first, by cosine and by firing on the same clips."""
        rows = self._rows(
            "SELECT n.kind, n.other, n.value, f.label, f.fired FROM neighbours n JOIN features f "
            "ON f.layer = n.layer AND f.feature = n.other WHERE n.layer = ? AND n.feature = ? ORDER BY n.kind, n.rank",
            layer, feature,
        )  # fmt: skip
        return [Neighbour(*row) for row in rows]

    def enriched(self, layer: int, feature: int) -> list[Enriched]:
        """Classes that are over-represented where it fires."""
        sql = "SELECT label, clips, fired, lift, low, high FROM labels WHERE layer = ? AND feature = ? ORDER BY rank"
        return [Enriched(*row) for row in self._rows(sql, layer, feature)]

    def enriched_of(self, layer: int, label: str) -> dict[int, Enriched]:
        """Features for which a class is in the table of enrichment."""
        sql = "SELECT feature, label, clips, fired, lift, low, high FROM labels WHERE label = ? AND layer = ?"
        return {row[0]: Enriched(*row[1:]) for row in self._rows(sql, label, layer)}

    def effects(self, layer: int, feature: int) -> list[Effect]:
        """Measured effects on the output."""
        sql = "SELECT clip, edit, effect FROM effects WHERE layer = ? AND feature = ? ORDER BY edit, clip"
        return [_effect(*row) for row in self._rows(sql, layer, feature)]

    def clip(self, clip: int) -> Clip | None:
        """A clip by its number."""
        row = self._row(f"SELECT {_CLIP} FROM clips c WHERE c.id = ?", clip)
        return None if row is None else _clip(row)

    def clips(self, numbers: Sequence[int] | None = None) -> list[Clip]:
        """Clips by number, in the order of their numbers; all of them without."""
        if numbers is None:
            return [_clip(row) for row in self._rows(f"SELECT {_CLIP} FROM clips c ORDER BY c.id")]
        sql = f"SELECT {_CLIP} FROM clips c WHERE c.id IN ({_places(numbers)}) ORDER BY c.id"
        return [_clip(row) for row in self._rows(sql, *numbers)]

    def sound(self, clip: int) -> bytes | None:
        """The clip's sound as FLAC; None where the index keeps none."""
        row = self._row("SELECT flac FROM sounds WHERE clip = ?", clip)
        return None if row is None else bytes(row[0])

    def mel(self, clip: int) -> bytes | None:
        """The clip's log-mel spectrogram as PNG."""
        row = self._row("SELECT png FROM mels WHERE clip = ?", clip)
        return None if row is None else bytes(row[0])

    def fires_on(self, layer: int, clip: int) -> Firing:
        """Features that fire on a clip, ranked by surprise against the corpus."""
        features, peaks = self.peaks(layer, clip)
        known = features < self._tails_of(layer).shape[0]
        features, peaks = features[known], peaks[known]
        surprise = self.surprise(layer, features, peaks)
        order = np.lexsort((features, -surprise))
        return Firing(features[order], peaks[order], surprise[order])

    def surprise(self, layer: int, features: NDArray[np.int64], peaks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bits (n,): −log2 of the share of the corpus's frames on which a feature is about as high as its peak.

        Counted are the frames in the bin of the peak, or in a higher one, at least 1; of a feature that the index does
        not have, as of one that never fires.
        """
        tails, frames = self._tails_of(layer), max(self.layers[layer].frames, 1) if layer in self.layers else 1
        as_high, known = np.ones(len(features)), features < len(tails)
        as_high[known] = np.maximum(tails[features[known], bin_of(peaks[known].astype(np.float32))], 1)
        return np.asarray(np.maximum(-np.log2(as_high / frames), 0), np.float64)

    def peaks(self, layer: int, clip: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Features that fire on a clip, by number, and their highest activations there."""
        row = self._row("SELECT features, values_ FROM peaks WHERE layer = ? AND clip = ?", layer, clip)
        if row is None:
            return np.zeros(0, np.int64), np.zeros(0)
        features = np.frombuffer(_inflated(row[0]), "<u2").astype(np.int64)
        values = np.frombuffer(_inflated(row[1]), "<f2").astype(np.float64)
        if len(features) != len(values):
            raise ValueError(f"layer {layer} has {len(features)} features and {len(values)} peaks on clip {clip}")
        return features, values

    def table(self, layer: int) -> LayerTable:
        """Columns of a layer's features; read once, then kept."""
        return self._kept(self._tables, layer, self._read_table, LAYERS_KEPT)

    def matching(self, words: str, kind: str, layer: int | None = None, most: int = 200) -> list[int]:
        """Features of a layer whose label has all the words, or clips whose transcript has, the best first.

        Args:
            words: as typed; each is looked for as a word's beginning.
            kind: `label` or `transcript`.
            layer: of the labels.
            most: that are given at most.
        """
        asked = _full_text(words)
        if not asked:
            return []
        column, where = ("feature", " AND layer = ?") if kind == "label" else ("clip", "")
        sql = f"SELECT {column} FROM words WHERE words MATCH ? AND kind = ?{where} ORDER BY rank LIMIT ?"
        values = (asked, kind, layer, most) if kind == "label" else (asked, kind, most)
        return [int(row[0]) for row in self._rows(sql, *values)]

    def clips_named(self, words: str, most: int = 200) -> list[int]:
        """Clips whose recording has all the words in its name, by number."""
        asked = ["".join(f"\\{c}" if c in "%_\\" else c for c in word) for word in words.split()[:16]]
        if not asked:
            return []
        where = " AND ".join(["recording LIKE ? ESCAPE '\\'"] * len(asked))
        sql = f"SELECT id FROM clips WHERE {where} ORDER BY id LIMIT ?"
        return [int(row[0]) for row in self._rows(sql, *(f"%{word}%" for word in asked), most)]

    def _read_table(self, layer: int) -> LayerTable:
        sql = "SELECT feature, fired, clips, peak, mean, label, x, y FROM features WHERE layer = ? ORDER BY feature"
        columns = list(zip(*self._rows(sql, layer), strict=True)) or [()] * 8
        feature, fired, clips = (np.array(column, np.int64) for column in columns[:3])
        peak, mean, x, y = (np.array(columns[i], np.float64) for i in (3, 4, 6, 7))
        return LayerTable(feature, fired, clips, peak, mean, [str(label) for label in columns[5]], x, y)

    def _tails_of(self, layer: int) -> NDArray[np.int64]:
        return self._kept(self._tails, layer, self._read_tails, TAILS_KEPT)

    def _read_tails(self, layer: int) -> NDArray[np.int64]:
        """Frames (features, bins) on which each feature is in that bin or a higher one."""
        rows = self._rows("SELECT feature, histogram FROM features WHERE layer = ? ORDER BY feature", layer)
        tails = np.zeros((max((row[0] for row in rows), default=-1) + 1, BINS), np.int64)
        for feature, histogram in rows:
            tails[feature] = _counts(histogram)[::-1].cumsum()[::-1]
        return tails

    def _kept(self, kept: OrderedDict[int, Kept], layer: int, read: Callable[[int], Kept], most: int) -> Kept:
        with self._lock:
            if layer in kept:
                kept.move_to_end(layer)
                return kept[layer]
        found = read(layer)  # two threads may both read it, which costs time and nothing else
        with self._lock:
            kept[layer] = found
            while len(kept) > most:
                kept.popitem(last=False)
        return found

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
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = _opened(self.path)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
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


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _full_text(words: str) -> str:
    """Query of FTS5 for texts with all these words, each quoted, so that its operators are words like others."""
    kept = ["".join(c for c in word if c.isprintable() and c != '"') for word in words.split()[:16]]
    return " ".join(f'"{word[:64]}"*' for word in kept if any(c.isalnum() for c in word))


def _clip(row: Sequence[Any]) -> Clip:
    number, recording, start, seconds, label, transcript, source, licence, redistributable = row
    return Clip(number, recording, start, seconds, label, transcript, source, licence, bool(redistributable))


def _counts(histogram: bytes) -> NDArray[np.uint32]:
    counts = np.frombuffer(histogram, "<u4")
    if len(counts) != BINS:
        raise ValueError(f"a histogram has {len(counts)} bins instead of {BINS}")
    return counts.astype(np.uint32)


def _inflated(packed: bytes) -> bytes:
    worker = zlib.decompressobj()
    found = worker.decompress(packed, LONGEST_CURVE)
    if not worker.eof:
        raise ValueError(f"a curve inflates to more than {LONGEST_CURVE} bytes, or is cut short")
    return found


def _curve(scale: float, packed: bytes) -> NDArray[np.float64]:
    return np.frombuffer(_inflated(packed), np.uint8).astype(np.float64) * (scale / CURVE_LEVELS)


def _effect(clip: int, edit: str, text: str) -> Effect:
    found = strict_json.parse(text, lenient=True)
    found = found if isinstance(found, dict) else {}
    pairs = [_pair(each) for each in found.get("words") or ()]
    end = found.get("end")
    return Effect(
        clip, edit, float(end) if isinstance(end, (int, float)) else None, _pair(found.get("first")),
        tuple(each for each in pairs if each is not None), str(found.get("before", "")), str(found.get("after", "")),
    )  # fmt: skip


def _pair(found: Any) -> tuple[str, float] | None:
    match found:
        case [str(token), int() | float() as change]:
            return token, float(change)
    return None
