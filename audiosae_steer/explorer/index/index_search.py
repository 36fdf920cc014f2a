"""Search among the features of an index: by words, classes, density and example clip; sorted and paged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .index_reader import Index

PAGE = 25
"""Features of a page of results."""
SORTS = ("best", "density", "peak", "clips", "feature", "label")
"""Orders: `best` is by what was asked, or by the peak where nothing was."""
CLIPS_READ = 100
"""Clips with the words, of which it is looked up what fires."""


class Query(NamedTuple):
    """Conditions that all must hold."""

    layer: int
    words: str = ""
    """In the feature's label, its own label in `own`, or the transcripts or names of clips on which it fires."""
    on: str = ""
    """Class among whose clips it is over-represented."""
    off: str = ""
    """Class among whose clips it is not."""
    clip: int | None = None
    """Clip on which it fires."""
    least: float = 0.0
    """Lowest density: share of frames on which it fires."""
    most: float = 1.0
    alive: bool = True
    """Leave out those that never fire."""
    sort: str = "best"
    reverse: bool = False
    page: int = 1


class Found(NamedTuple):
    """A page of results."""

    features: list[int]
    reasons: list[str]
    """Reason of each, in words; empty where nothing was asked."""
    total: int
    pages: int
    page: int


class Scores:
    """Features that are left after each condition, how well they fit, and the reasons."""

    def __init__(self, size: int) -> None:
        self.left = np.ones(size, bool)
        self.score = np.zeros(size)
        self.reasons: dict[int, list[str]] = {}

    def keep(self, scores: Mapping[int, float], reasons: Mapping[int, str]) -> None:
        """Keep only these rows, with their scores added."""
        mask = np.zeros(len(self.left), bool)
        for row, score in scores.items():
            mask[row] = True
            self.score[row] += score
            self.reasons.setdefault(row, []).append(reasons[row])
        self.left &= mask


def search(index: Index, query: Query, own: Mapping[int, str] | None = None) -> Found:
    """Features of a layer that meet all conditions, a page of them.

    Args:
        index: where they are looked for.
        query: the conditions.
        own: the user's labels of features of this layer, which `words` finds too.
    """
    table = index.table(query.layer)
    rows = {int(feature): row for row, feature in enumerate(table.feature)}
    scores = Scores(len(table.feature))
    frames = max(index.layers[query.layer].frames, 1)
    density = table.fired / frames
    scores.left &= (density >= query.least) & (density <= query.most)
    if query.alive:
        scores.left &= table.fired > 0
    if query.words.strip():
        _by_words(index, query, own or {}, rows, scores)
    if query.on or query.off:
        _by_class(index, query, rows, scores)
    if query.clip is not None:
        firing = index.fires_on(query.layer, query.clip)
        found = zip(firing.features.tolist(), firing.surprise.tolist(), firing.peaks.tolist(), strict=True)
        kept = {rows[feature]: (bits, peak) for feature, bits, peak in found if feature in rows}
        scores.keep(
            {row: bits for row, (bits, _) in kept.items()},
            {
                row: f"{peak:.2f} on clip {query.clip}, {bits:.1f} bits of surprise"
                for row, (bits, peak) in kept.items()
            },
        )
    names = own or {}
    named = [names.get(feature, "") or label for feature, label in zip(rows, table.label, strict=True)]
    order = _ordered(query, scores, density, table.peak, table.clips, named)
    pages = max(-(-len(order) // PAGE), 1)
    page = min(max(query.page, 1), pages)
    shown = order[(page - 1) * PAGE : page * PAGE]
    reasons = ["; ".join(scores.reasons.get(int(row), [])) for row in shown]
    return Found([int(table.feature[row]) for row in shown], reasons, len(order), pages, page)


def _ordered(
    query: Query, scores: Scores, density: NDArray[np.float64], peak: NDArray[np.float64],
    clips: NDArray[np.int64], named: list[str],
) -> NDArray[np.int64]:  # fmt: skip
    left = np.flatnonzero(scores.left)
    if query.sort == "label":  # those without one come last, either way
        with_label = [row for row in left.tolist() if named[row]]
        with_label.sort(key=lambda row: named[row].casefold(), reverse=query.reverse)
        return np.array(with_label + [row for row in left.tolist() if not named[row]], np.int64)
    keys = {"density": density, "clips": clips, "feature": -np.arange(len(density)), "peak": peak}
    asked = bool(scores.reasons)
    key = keys.get(query.sort, scores.score if asked else peak)[left]
    second = peak[left]
    return left[np.lexsort((left, -second, key if query.reverse else -key))]


def _by_words(index: Index, query: Query, own: Mapping[int, str], rows: Mapping[int, int], scores: Scores) -> None:
    """Keep features that the words name, and those that fire on clips in which they are said; names come first."""
    points: dict[int, float] = {}
    reasons: dict[int, str] = {}
    asked = query.words.casefold().split()
    for feature, label in own.items():
        if feature in rows and all(word in label.casefold() for word in asked):
            points[rows[feature]], reasons[rows[feature]] = 2e6, "your label"
    for rank, feature in enumerate(index.matching(query.words, "label", query.layer, most=100_000)):
        if feature in rows and rows[feature] not in points:
            points[rows[feature]], reasons[rows[feature]] = 1e6 - rank, "label"
    said = index.matching(query.words, "transcript", most=CLIPS_READ)
    clips = sorted({*said, *index.clips_named(query.words, CLIPS_READ)})[:CLIPS_READ]
    hits: dict[int, int] = {}
    for clip in clips:
        for feature in index.peaks(query.layer, clip)[0].tolist():
            hits[feature] = hits.get(feature, 0) + 1
    table, total = index.table(query.layer), max(index.layers[query.layer].clips, 1)
    for feature, number in hits.items():
        row = rows.get(feature)
        if row is None or row in points:
            continue
        lift = (number / len(clips)) / max(float(table.clips[row]) / total, 1e-9)
        if lift > 1:  # it fires there more often than anywhere
            points[row] = number * float(np.log2(lift))
            reasons[row] = f"fires on {number} of {len(clips)} clips with these words"
    scores.keep(points, reasons)


def _by_class(index: Index, query: Query, rows: Mapping[int, int], scores: Scores) -> None:
    """Keep features enriched for one class (interval above 1) and not for the other (interval not above 1)."""
    on = index.enriched_of(query.layer, query.on) if query.on else {}
    off = index.enriched_of(query.layer, query.off) if query.off else {}
    points: dict[int, float] = {}
    reasons: dict[int, str] = {}
    for feature in on if query.on else rows:
        row, yes, no = rows.get(feature), on.get(feature), off.get(feature)
        if row is None or (no is not None and no.low > 1) or (query.on and (yes is None or yes.low <= 1)):
            continue
        share = yes.fired / max(yes.clips, 1) if yes is not None else 0.0
        other = no.fired / max(no.clips, 1) if no is not None else 0.0
        points[row] = share - other
        said = [f"{yes.fired} of {yes.clips} {query.on} clips, {yes.lift:.1f} times its share"] if yes else []
        if query.off:
            said.append(f"{no.fired} of {no.clips} {query.off} clips" if no else f"not enriched for {query.off}")
        reasons[row] = "; ".join(said)
    scores.keep(points, reasons)
