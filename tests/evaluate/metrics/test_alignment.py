"""Alignments: the textbook's distance, and of equals the nearest in time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.evaluate.metrics.alignment import Word, align, neighbours, spread

words = st.lists(st.sampled_from("abc"), max_size=9)


def placed(text: list[str], step: float = 1.0) -> list[Word]:
    return [Word(w, i * step, 0) for i, w in enumerate(text)]


def distance(a: list[str], b: list[str]) -> int:
    """Levenshtein's, by the textbook."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


@given(words, words, st.floats(0, 100))
def test_it_has_the_fewest_edits_and_keeps_the_order(said, heard, step):
    pairs = align(placed(said), placed(heard, step))
    used = pairs.said[pairs.said >= 0]
    assert (np.diff(used) > 0).all()
    assert all(pairs.equal[j] == (i >= 0 and said[i] == heard[j]) for j, i in enumerate(pairs.said))
    insertions = len(heard) - len(used)
    deletions = len(said) - len(used)
    substitutions = len(used) - int(pairs.equal.sum())
    assert insertions + deletions + substitutions == distance(said, heard)


def test_of_equals_the_nearest_in_time():
    said = [Word("you", 50.0, 0)]
    heard = [Word("you", 10.0, 0), Word("you", 51.0, 1), Word("you", 80.0, 2)]
    assert align(said, heard).said.tolist() == [-1, 0, -1]
    # but an edit fewer is worth any distance
    assert align(said, [Word("you", 9e4, 0), Word("we", 50.0, 1)]).equal.tolist() == [True, False]


@given(words, words)
def test_neighbours(said, heard):
    pairs = align(placed(said), placed(heard))
    before, after = neighbours(pairs)
    listed = pairs.said.tolist()
    for j in range(len(heard)):
        assert before[j] == next((i for i in reversed(listed[: j + 1]) if i >= 0), -1)
        assert after[j] == next((i for i in listed[j:] if i >= 0), -1)


def test_words_are_spread_over_their_stretch():
    found = spread([(2.0, 6.0, "red blue"), (6.0, 7.0, ""), (8.0, 8.0, "tree")])
    assert found == [Word("red", 3.0, 0), Word("blue", 5.0, 0), Word("tree", 8.0, 2)]
