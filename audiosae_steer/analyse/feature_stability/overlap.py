"""Overlap of features' firing patterns: intersection over union from sparse products, and matching by it.

AudioSAE (arXiv 2602.05027), section on stability: χ(a, b) = |a ∧ b| / |a ∨ b|, of the frames on which features fire.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import Patterns
from ..frame.extra import import_extra

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]
BLOCK = 256
"""Features of one sparse product: against 6144 others, at most 19 MB."""
PAIR_BLOCK = 64
"""Pairs that are counted at once."""
KEPT = 4
"""Candidate partners of a feature that are kept for intervals."""


class Overlap(NamedTuple):
    """Pairs of features whose patterns overlap, and the best partner of each."""

    chi: Numbers
    """(F_a,) highest χ of each feature of A; 0 where there is no partner."""
    partner: Indices
    """(F_a,) feature of B that has it; −1 where there is none."""
    back: Numbers
    """(F_b,) highest χ of each feature of B."""
    pairs: Indices
    """(pairs, 2) features of A and of B with χ above the floor, in the order of A's and, for each, from the best on."""
    pair_chi: Numbers
    """(pairs,) their χ."""


def overlaps(
    a: Patterns, b: Patterns, seen_a: Flags, seen_b: Flags, *, floor: float = 0.25, others: bool = False
) -> Overlap:
    """χ of features of A and of B on the same frames.

    Args:
        a: patterns (frames, F_a).
        b: patterns (frames, F_b) of the same frames.
        seen_a: (F_a,) features of A to take part.
        seen_b: (F_b,) likewise.
        floor: χ above which a pair is kept.
        others: a feature is not its own partner; A and B are of one dictionary.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    rows, columns = np.flatnonzero(seen_a), np.flatnonzero(seen_b)
    left, right = a.active[:, rows].T.tocsr(), b.active[:, columns].tocsr()
    count_a, count_b = np.diff(left.indptr), np.diff(right.tocsc().indptr)
    chi, back = np.zeros(a.n_features), np.zeros(b.n_features)
    partner = np.full(a.n_features, -1)
    kept: list[tuple[Indices, Indices, Numbers]] = []
    for start in range(0, len(rows), BLOCK):
        both = (left[start : start + BLOCK] @ right).tocoo()
        one, other = both.row + start, both.col
        value = both.data / (count_a[one] + count_b[other] - both.data)
        first, second = rows[one], columns[other]
        if others:
            value[first == second] = 0
        np.maximum.at(back, second, value)
        above = value > floor
        order = np.lexsort((second[above], -value[above], first[above]))
        kept.append(tuple(each[above][order] for each in (first, second, value)))
        np.maximum.at(chi, first, value)
        leading = (value == chi[first]) & (value > 0)
        partner[rows[start : start + BLOCK]] = b.n_features
        np.minimum.at(partner, first[leading], second[leading])
    partner[partner == b.n_features] = -1
    first, second, value = (np.concatenate(each) for each in zip(*kept, strict=True)) if kept else _nothing()
    return Overlap(chi, partner, back, np.stack([first, second], 1), value)


def one_to_one(found: Overlap, theta: float, features: int) -> Indices:
    """Partners (F_a,) under an assignment of the largest total χ among pairs above `theta`, each of B's features given
    once; −1 where a feature goes without.

    Pairs that hang together are solved on their own, so that only features that compete share a matrix.

    Args:
        found: overlaps, with a floor of at most `theta`.
        theta: χ above which a pair counts.
        features: F_a.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    sparse, graph = import_extra("scipy.sparse"), import_extra("scipy.sparse.csgraph")
    assign = import_extra("scipy.optimize").linear_sum_assignment
    result = np.full(features, -1)
    above = found.pair_chi > theta
    pairs, chi = found.pairs[above], found.pair_chi[above]
    if not len(pairs):
        return result
    rows, row = np.unique(pairs[:, 0], return_inverse=True)
    columns, column = np.unique(pairs[:, 1], return_inverse=True)
    size = len(rows) + len(columns)
    links = sparse.coo_matrix((np.ones(len(pairs)), (row, column + len(rows))), shape=(size, size))
    _, part = graph.connected_components(links, directed=False)
    order = np.argsort(part[row], kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(part[row][order])) + 1):
        mine, i = np.unique(row[own], return_inverse=True)
        theirs, j = np.unique(column[own], return_inverse=True)
        weights = np.zeros((len(mine), len(theirs)))
        weights[i, j] = chi[own]
        for x, y in zip(*assign(weights, maximize=True), strict=True):
            if weights[x, y] > 0:
                result[rows[mine[x]]] = columns[theirs[y]]
    return result


class GroupCounts(NamedTuple):
    """Frames by group: sums over groups give χ of any draw of them."""

    both: Numbers
    """(groups, pairs) frames on which both of a pair fire."""
    first: Numbers
    """(groups, pairs) frames on which A's does."""
    second: Numbers
    """(groups, pairs) frames on which B's does."""

    def chi(self, weights: Numbers) -> Numbers:
        """χ (draws, pairs) where each group counts so often, (draws, groups)."""
        both = weights @ self.both
        either = weights @ self.first + weights @ self.second - both
        return np.asarray(both / np.maximum(either, 1))


def group_counts_of(a: Patterns, b: Patterns, pairs: Indices) -> GroupCounts:
    """Counts of pairs (pairs, 2) by group, the groups in the order of their names; a few pairs at a time."""
    sparse = import_extra("scipy.sparse")
    _, group = np.unique(np.asarray(a.groups, dtype=str), return_inverse=True)
    of_frame = group.reshape(-1)[a.clip_of]
    gather = sparse.csr_matrix(
        (np.ones(a.frames, np.int32), (of_frame, np.arange(a.frames))), shape=(int(group.max()) + 1, a.frames)
    )
    left, right = a.active.tocsc(), b.active.tocsc()
    first, second = ((gather @ each).toarray().astype(np.float64) for each in (left, right))
    both = np.zeros((gather.shape[0], len(pairs)))
    for start in range(0, len(pairs), PAIR_BLOCK):
        block = pairs[start : start + PAIR_BLOCK]
        both[:, start : start + PAIR_BLOCK] = (
            gather @ left[:, block[:, 0]].multiply(right[:, block[:, 1]]).tocsc()
        ).toarray()
    return GroupCounts(both, first[:, pairs[:, 0]], second[:, pairs[:, 1]])


def leading_pairs(found: Overlap, most: int = KEPT) -> Indices:
    """Positions of the pairs that are among the best `most` of their feature of A."""
    first = found.pairs[:, 0]
    starts = np.searchsorted(first, first)
    return np.flatnonzero(np.arange(len(first)) - starts < most)


def decoder_cosines(a: Any, b: Any, seen_a: Flags, seen_b: Flags) -> tuple[Numbers, Indices]:
    """Largest |cosine| (F_a,) of each decoder row of A with those of B, and the row (F_a,) that has it.

    Args:
        a: decoder (F_a, d_model).
        b: decoder (F_b, d_model).
        seen_a: (F_a,) features to take part; the others get 0 and −1.
        seen_b: (F_b,) likewise.
    """
    rows, columns = np.flatnonzero(seen_a), np.flatnonzero(seen_b)
    unit = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (a[rows], b[columns])]
    best, partner = np.zeros(len(a)), np.full(len(a), -1)
    for start in range(0, len(rows), BLOCK):
        cosine = np.abs(unit[0][start : start + BLOCK] @ unit[1].T)
        own = rows[start : start + BLOCK]
        best[own], partner[own] = cosine.max(1), columns[cosine.argmax(1)]
    return best, partner


def _nothing() -> tuple[Indices, Indices, Numbers]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
