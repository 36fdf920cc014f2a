"""Overlaps by sparse products against dense arithmetic, and assignments against exhaustive search."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from planted import bursts, cut, log_uniform

from audiosae_steer.analyse import Patterns
from audiosae_steer.analyse.feature_stability import overlap
from audiosae_steer.analyse.feature_stability.overlap import (
    Overlap,
    decoder_cosines,
    group_counts_of,
    leading_pairs,
    one_to_one,
    overlaps,
)


def dense_chi(a, b):
    both = a.T.astype(float) @ b
    return both / np.maximum(a.sum(0)[:, None] + b.sum(0) - both, 1)


@pytest.mark.parametrize("block", [3, 256])
def test_chi_is_that_of_dense_arithmetic_in_any_blocks(block, monkeypatch):
    monkeypatch.setattr(overlap, "BLOCK", block)
    rng = np.random.default_rng(0)
    a = bursts(rng, 600, log_uniform(rng, 20, low=0.1, high=0.9))
    b = np.concatenate([a[:, ::-1][:, :8], bursts(rng, 600, log_uniform(rng, 9, low=0.1, high=0.9))], 1)
    seen_a, seen_b = np.arange(20) != 4, np.arange(17) != 2
    found = overlaps(Patterns.of(cut(a, 6)), Patterns.of(cut(b, 6)), seen_a, seen_b, floor=0.2)
    chi = dense_chi(a, b) * seen_a[:, None] * seen_b
    assert np.allclose(found.chi, chi.max(1))
    assert np.allclose(found.back, chi.max(0))
    assert np.array_equal(found.partner[seen_a], chi.argmax(1)[seen_a])
    assert found.partner[4] == -1
    assert {tuple(pair) for pair in found.pairs.tolist()} == {tuple(pair) for pair in np.argwhere(chi > 0.2).tolist()}
    assert np.allclose(found.pair_chi, chi[tuple(found.pairs.T)])
    kept = leading_pairs(found, 2)
    assert max(np.bincount(found.pairs[kept][:, 0])) <= 2
    assert set(found.partner[seen_a & (found.chi > 0.2)]) <= set(found.pairs[kept][:, 1])


def test_a_feature_is_not_its_own_duplicate():
    rng = np.random.default_rng(0)
    a = bursts(rng, 600, [0.1, 0.2])
    patterns, seen = Patterns.of(cut(a, 6)), np.ones(2, bool)
    assert overlaps(patterns, patterns, seen, seen, others=True).chi.max() < 0.5
    assert overlaps(patterns, patterns, seen, seen).chi.tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(10))
def test_the_assignment_is_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    chi = rng.random((5, 4))
    pairs = np.argwhere(chi > 0.5)
    found = Overlap(chi.max(1), chi.argmax(1), chi.max(0), pairs, chi[tuple(pairs.T)])
    assigned = one_to_one(found, 0.5, 5)
    total = sum(chi[i, j] for i, j in enumerate(assigned) if j >= 0)
    allowed = np.where(chi > 0.5, chi, 0)
    best = max(sum(allowed[i, j] for j, i in enumerate(rows)) for rows in permutations(range(5), 4))
    assert total == pytest.approx(best)
    used = assigned[assigned >= 0]
    assert len(set(used.tolist())) == len(used)


def test_counts_by_group_give_chi_of_any_draw():
    rng = np.random.default_rng(0)
    a, b = bursts(rng, 600, [0.3, 0.5, 0.2]), bursts(rng, 600, [0.4, 0.3])
    groups = ["x", "y", "x", "z", "z", "y"]
    pairs = np.array([[0, 0], [1, 1], [2, 0]])
    counts = group_counts_of(Patterns.of(cut(a, 6), groups=groups), Patterns.of(cut(b, 6), groups=groups), pairs)
    assert np.allclose(counts.chi(np.ones((1, 3)))[0], dense_chi(a, b)[tuple(pairs.T)])
    rows = np.concatenate([np.arange(i * 100, i * 100 + 100) for i in (0, 2, 0, 2, 3, 4)])
    drawn = dense_chi(a[rows], b[rows])[tuple(pairs.T)]
    assert np.allclose(counts.chi(np.array([[2.0, 0.0, 1.0]]))[0], drawn)


def test_decoder_rows():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((6, 30))
    b = -3 * a[[5, 4, 3, 2, 1, 0]]
    best, partner = decoder_cosines(a, b, np.arange(6) != 2, np.ones(6, bool))
    assert np.allclose(best, np.arange(6) != 2)
    assert partner.tolist() == [5, 4, -1, 2, 1, 0]
