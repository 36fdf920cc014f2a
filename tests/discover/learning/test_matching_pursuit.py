"""Orthogonal matching pursuit."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer.discover.learning.matching_pursuit import nearest


def rows(seed: int, count: int, width: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 24), st.integers(0, 50))
def test_more_rows_come_nearer_and_none_is_taken_twice(seed, count, width, most):
    basis = rows(seed, count, width)
    vector = torch.randn(width, generator=torch.Generator().manual_seed(seed + 1))
    left = [1.0]
    for number in range(most + 1):
        chosen, weights = nearest(vector, basis, number)
        assert len(chosen) == len(weights) == len(set(chosen.tolist())) <= min(number, count, width)
        left.append(float((vector - weights @ basis[chosen]).norm() / vector.norm()))
    assert all(later <= earlier + 1e-4 for earlier, later in itertools.pairwise(left))


def test_what_few_rows_make_up_is_found_again():
    basis = rows(0, 500, 64)
    wanted = {3: 2.0, 77: -1.0, 410: 0.5}
    vector = sum(weight * basis[row] for row, weight in wanted.items())
    chosen, weights = nearest(vector, basis, 10)
    found = dict(zip(chosen.tolist(), weights.tolist(), strict=True))
    assert found.keys() == wanted.keys()
    assert all(abs(found[row] - weight) < 1e-3 for row, weight in wanted.items())


def test_no_vector_needs_no_rows():
    chosen, weights = nearest(torch.zeros(8), rows(0, 20, 8), 4)
    assert chosen.tolist() == weights.tolist() == []
