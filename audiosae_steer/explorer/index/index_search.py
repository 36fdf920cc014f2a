"""Search among the features of an index: by words, classes, density and example clip; sorted and paged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .feature_rows import FeatureRows
from .index_reader import Index, full_text

PAGE = 25
"""Features of a page of results."""
SORTS = ("best", "density", "peak", "clips", "feature", "label")
"""Orders: `best` is by what was asked, or by the peak where nothing was."""
CLIPS_READ = 100
"""Clips with the words, of which it is looked up what fires."""
OWN_POINTS, LABEL_POINTS = 2e6, 1e6
"""Points of a feature whose own label, or label, has the words: more than any number of clips gives."""
Labels = Mapping[tuple[int, int], str]
"""The user's labels by layer and feature."""


class Query(NamedTuple):
    """Conditions that all must hold."""

    layer: int | None
    """None: all layers."""
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

    layers: list[int]
    features: list[int]
    """Numbers in these layers."""
    rows: list[int]
    """Rows in `Index.features` of the query's layer."""
    reasons: list[str]
    """Reason of each, in words; empty where nothing was asked."""
    total: int
    pages: int
    page: int


class Condition(NamedTuple):
    """Points of all rows (rows,), NaN where it does not hold, and the reason of one of them in words."""

    points: NDArray[np.float64]
    reason: Callable[[int], str]


def search(index: Index, query: Query, own: Labels | None = None) -> Found:
    """Features of a layer, or of all, that meet all conditions; a page of them.

    Args:
        index: where they are looked for.
        query: the conditions.
        own: the user's labels, which `words` finds too.
    """
    table = index.features(query.layer)
    named = _own_rows(table, own or {})
    met = []
    if query.words.strip():
        met.append(_by_words(index, query.words, table, named))
    if query.on or query.off:
        met.append(_by_class(index, query, table))
    if query.clip is not None:
        met.append(_by_clip(index, query.clip, table))
    score = np.zeros(len(table))
    for each in met:
        score += each.points
    left = ~np.isnan(score) & (table.density >= query.least) & (table.density <= query.most)
    if query.alive:
        left &= table.fired > 0
    order = _ordered(query, np.flatnonzero(left), score if met else table.peak, table, named)
    pages = max(-(-len(order) // PAGE), 1)
    page = min(max(query.page, 1), pages)
    shown = order[(page - 1) * PAGE : page * PAGE].tolist()
    reasons = ["; ".join(each.reason(row) for each in met) for row in shown]
    return Found(table.layer[shown].tolist(), table.feature[shown].tolist(), shown, reasons, len(order), pages, page)


def _own_rows(table: FeatureRows, own: Labels) -> dict[int, str]:
    """The user's labels by row."""
    found: dict[int, str] = {}
    for (layer, feature), label in own.items():
        rows, _ = table.find(layer, np.array([feature]))
        found |= {int(row): label for row in rows}
    return found


def _ordered(
    query: Query, left: NDArray[np.int64], best: NDArray[np.float64], table: FeatureRows, own: Mapping[int, str]
) -> NDArray[np.int64]:
    sign = 1 if query.reverse else -1
    second = -table.peak[left]
    if query.sort == "label":  # those without one come last, either way
        names = [*table.names, *own.values()]
        place = table.name.copy()
        for extra, row in enumerate(own, len(table.names)):
            place[row] = extra
        ranks = {name: rank for rank, name in enumerate(sorted({name.casefold() for name in names}))}
        rank = np.array([ranks[name.casefold()] for name in names])[place[left]]
        bare = np.array([not name for name in names])[place[left]]
        return left[np.lexsort((left, -sign * rank, bare))]
    keys = {"density": table.density, "clips": table.clips, "feature": -np.arange(len(table)), "peak": table.peak}
    return left[np.lexsort((left, second, sign * keys.get(query.sort, best)[left]))]


def _by_words(index: Index, words: str, table: FeatureRows, own: Mapping[int, str]) -> Condition:
    """Features that the words name, and those that fire on clips in which they are said; names come first."""
    points = np.full(len(table), np.nan)
    clips = sorted({*index.clips_saying(words, CLIPS_READ), *index.clips_named(words, CLIPS_READ)})[:CLIPS_READ]
    hits = np.zeros(len(table), np.int64)
    for layer in table.layers if clips else ():
        counts = index.hits(layer, clips)
        rows, known = table.find(layer, np.arange(len(counts)))
        hits[rows] = counts[known]
        total = max(index.layers[layer].clips, 1)
        lift = hits[rows] / len(clips) / np.maximum(table.clips[rows] / total, 1e-9)
        often = lift > 1  # it fires there more often than anywhere
        points[rows[often]] = hits[rows[often]] * np.log2(lift[often])
    ranks = table.labelled(full_text(words))
    points[ranks >= 0] = LABEL_POINTS - ranks[ranks >= 0]
    asked = words.casefold().split()
    for row, label in own.items():
        if all(word in label.casefold() for word in asked):
            points[row] = OWN_POINTS

    def reason(row: int) -> str:
        if points[row] >= OWN_POINTS:
            return "your label"
        return "label" if ranks[row] >= 0 else f"fires on {hits[row]} of {len(clips)} clips with these words"

    return Condition(points, reason)


def _by_class(index: Index, query: Query, table: FeatureRows) -> Condition:
    """Features enriched for one class (interval above 1) and not for the other (interval not above 1)."""
    columns = {}
    for name in {query.on, query.off} - {""}:
        found, columns[name] = index.enrichment(name), np.zeros((4, len(table)))
        for layer in table.layers:
            own = found.layer == layer
            rows, known = table.find(layer, found.feature[own])
            columns[name][:, rows] = np.array([found.low, found.fired, found.clips, found.lift])[:, own][:, known]
    none = np.zeros((4, len(table)))
    yes, no = columns.get(query.on, none), columns.get(query.off, none)
    points = yes[1] / np.maximum(yes[2], 1) - no[1] / np.maximum(no[2], 1)
    points[(no[0] > 1) | ((yes[0] <= 1) if query.on else False)] = np.nan

    def reason(row: int) -> str:
        said = []
        if query.on:
            _, fired, clips, lift = yes[:, row]
            said.append(f"{fired:.0f} of {clips:.0f} {query.on} clips, {lift:.1f} times its share")
        if query.off:
            _, fired, clips, _ = no[:, row]
            said.append(f"{fired:.0f} of {clips:.0f} {query.off} clips" if clips else f"not enriched for {query.off}")
        return "; ".join(said)

    return Condition(points, reason)


def _by_clip(index: Index, clip: int, table: FeatureRows) -> Condition:
    """Features that fire on a clip, by their surprise."""
    points, peaks = np.full(len(table), np.nan), np.zeros(len(table))
    for layer in table.layers:
        firing = index.fires_on(layer, clip)
        rows, known = table.find(layer, firing.features)
        points[rows], peaks[rows] = firing.surprise[known], firing.peaks[known]
    return Condition(points, lambda row: f"{peaks[row]:.2f} on clip {clip}, {points[row]:.1f} bits of surprise")
