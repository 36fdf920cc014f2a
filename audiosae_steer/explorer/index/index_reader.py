"""Index that is served: read-only look-ups in its SQLite file, from any thread."""

from __future__ import annotations

import sqlite3
import sys
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io import strict_json
from .feature_rows import FeatureRows
from .index_connections import IndexConnections
from .index_rows import Clip, Effect, Enriched, Enrichment, Example, Feature, Firing, Layer, LayerTable, Neighbour
from .index_schema import APPLICATION, BINS, CURVE_LEVELS, KINDS, VERSION, bin_of

LONGEST_CURVE = 1 << 20
"""Bytes of an inflated curve or list of peaks."""
LAYERS_KEPT = 16
"""Layers whose columns are kept in memory: a few hundred kB each."""
TAILS_KEPT = 16
"""Layers whose histograms are kept: 256 bytes a feature."""
CLASSES_KEPT = 8
"""Classes whose enrichment of all layers is kept: 48 bytes a feature that it is enriched in."""
_CLIP = "c.id, c.recording, c.start, c.seconds, c.label, c.transcript, c.source, c.licence, c.redistributable"
Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")


class Index(IndexConnections):
    """An explorer's index, opened read-only.

    Args:
        path: the SQLite file.

    Raises:
        SteeringError: it is not there, is no index, or one of another version.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(Path(path))
        self._lock = threading.Lock()
        self._tables, self._tails = OrderedDict[int, LayerTable](), OrderedDict[int, NDArray[np.uint32]]()
        self._features, self._classes = OrderedDict[int | None, FeatureRows](), OrderedDict[str, Enrichment]()
        self._last_transcript: int | None = None
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

    def enrichment(self, label: str) -> Enrichment:
        """Features for which a class is in the table of enrichment, of all layers; read once, then kept."""
        return self._kept(self._classes, label, self._read_enrichment, CLASSES_KEPT)

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
        """The clip's sound as FLAC, or WAV of a short one; None where the index keeps none."""
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

    def features(self, layer: int | None = None) -> FeatureRows:
        """Columns of a layer's features, or of all layers' in one; read once, then kept."""
        return self._kept(self._features, layer, self._read_features, LAYERS_KEPT)

    def hits(self, layer: int, clips: Sequence[int]) -> NDArray[np.int64]:
        """Number of those clips on which each feature (highest number + 1,) fires."""
        sql = f"SELECT features FROM peaks WHERE layer = ? AND clip IN ({_places(clips)})"
        found = [np.frombuffer(_inflated(row[0]), "<u2") for row in self._rows(sql, layer, *clips)]
        return np.bincount(np.concatenate([np.zeros(0, "<u2"), *found]))

    def clips_saying(self, words: str, most: int = 200) -> list[int]:
        """Clips whose transcript has all the words, each as a word's beginning; the best first."""
        asked = full_text(words)
        if not asked:
            return []
        if self._last_transcript is None:
            # transcripts are written before the labels of features, which are many: words are looked for up to here
            last = self._row("SELECT rowid FROM words WHERE kind = 'transcript' ORDER BY rowid DESC LIMIT 1")
            self._last_transcript = 0 if last is None else int(last[0])
        sql = "SELECT clip FROM words WHERE words MATCH ? AND rowid <= ? AND kind = 'transcript' ORDER BY rank LIMIT ?"
        return [int(row[0]) for row in self._rows(sql, asked, self._last_transcript, most)]

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
        labels = [sys.intern(str(label)) for label in columns[5]]  # the same few, again and again
        return LayerTable(feature, fired, clips, peak, mean, labels, x, y)

    def _read_features(self, layer: int | None) -> FeatureRows:
        layers = list(self.layers) if layer is None else [layer]
        return FeatureRows({each: self.table(each) for each in layers}, self.layers)

    def _read_enrichment(self, label: str) -> Enrichment:
        rows = self._rows("SELECT layer, feature, clips, fired, lift, low FROM labels WHERE label = ?", label)
        columns = list(zip(*rows, strict=True)) or [()] * 6
        layer, feature, clips, fired = (np.array(column, np.int64) for column in columns[:4])
        return Enrichment(layer, feature, clips, fired, np.array(columns[4], float), np.array(columns[5], float))

    def _tails_of(self, layer: int) -> NDArray[np.uint32]:
        return self._kept(self._tails, layer, self._read_tails, TAILS_KEPT)

    def _read_tails(self, layer: int) -> NDArray[np.uint32]:
        """Frames (features, bins) on which each feature is in that bin or a higher one."""
        rows = self._rows("SELECT feature, histogram FROM features WHERE layer = ? ORDER BY feature", layer)
        tails = np.zeros((max((row[0] for row in rows), default=-1) + 1, BINS), np.uint32)
        for feature, histogram in rows:
            sums = _counts(histogram)[::-1].cumsum(dtype=np.int64)[::-1]
            tails[feature] = np.minimum(sums, np.iinfo(np.uint32).max)
        return tails

    def _kept(self, kept: OrderedDict[Key, Kept], key: Key, read: Callable[[Key], Kept], most: int) -> Kept:
        with self._lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        found = read(key)  # two threads may both read it, which costs time and nothing else
        with self._lock:
            kept[key] = found
            while len(kept) > most:
                kept.popitem(last=False)
        return found


def _places(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def full_text(words: str) -> str:
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
