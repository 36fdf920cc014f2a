"""Alignment of words: fewest edits first, and of those alignments the one that agrees best in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EDIT = 2**40
"""Cost of an edit: more than an alignment's distances in milliseconds can sum up to, for days of speech."""
FAR = 2**62
"""Index beyond any word."""


class Word(NamedTuple):
    """A word with its time and its stretch."""

    text: str
    time: float
    """Seconds, about."""
    owner: int
    """Number of the stretch that it comes from."""


class Pairs(NamedTuple):
    """An alignment: one entry for every word of the transcript."""

    said: NDArray[np.int64]
    """The word of the reference that it stands for; −1 if it is inserted."""
    equal: NDArray[np.bool_]
    """True if it is that word, and not another in its place."""


def spread(spans: Sequence[tuple[float, float, str]]) -> list[Word]:
    """The words of stretches (start, end, text), as if each stretch's words were spread evenly over it."""
    found = []
    for number, (start, end, text) in enumerate(spans):
        words = text.split()
        found += [Word(w, start + (end - start) * (i + 0.5) / len(words), number) for i, w in enumerate(words)]
    return found


def align(said: Sequence[Word], written: Sequence[Word]) -> Pairs:
    """The alignment of fewest edits (Levenshtein, 1966) and, of those, with the least distance in time.

    Integers throughout, so that ties are exact: an edit costs more than all distances, in milliseconds, together.
    """
    numbers: dict[str, int] = {}
    a = np.array([numbers.setdefault(w.text, len(numbers)) for w in said], np.int64)
    b = np.array([numbers.setdefault(w.text, len(numbers)) for w in written], np.int64)
    at_a = np.array([round(w.time * 1000) for w in said], np.int64)
    at_b = np.array([round(w.time * 1000) for w in written], np.int64)
    steps = np.zeros((len(a) + 1, len(b) + 1), np.int8)  # 0: a pair, 1: deletion, 2: insertion
    steps[:, 0], steps[0, :] = 1, 2
    along = EDIT * np.arange(len(b) + 1)
    row = along.copy()
    for i in range(len(a)):
        pair = row[:-1] + EDIT * (b != a[i]) + np.abs(at_b - at_a[i])
        best = row + EDIT
        steps[i + 1, 1:][pair <= best[1:]] = 0
        steps[i + 1, 1:][pair > best[1:]] = 1
        best[1:] = np.minimum(best[1:], pair)
        row = np.minimum.accumulate(best - along) + along  # insertions cost the same everywhere
        steps[i + 1][row < best] = 2
    i, j = len(a), len(b)
    found = np.full(len(b), -1, np.int64)
    while i or j:
        step = steps[i, j]
        i, j = i - (step != 2), j - (step != 1)
        if step == 0:
            found[j] = i
    equal = np.zeros(len(b), bool)
    paired = found >= 0
    equal[paired] = a[found[paired]] == b[paired]
    return Pairs(found, equal)


def neighbours(pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (words of the transcript,) of the nearest paired words of the reference before and after, or −1."""
    n = len(pairs.said)
    last = np.maximum.accumulate(pairs.said) if n else pairs.said
    far = np.where(pairs.said < 0, FAR, pairs.said)
    following = np.minimum.accumulate(far[::-1])[::-1] if n else far
    return last, np.where(following == FAR, -1, following)
