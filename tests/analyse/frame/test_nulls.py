"""p-values, corrections, permutations and shifts against what they have to be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from audiosae_steer.analyse.frame.nulls import benjamini_hochberg, holm, p_value, permuted_labels, shifted_rows
from audiosae_steer.errors import SteeringError


def test_a_p_value_is_never_zero():
    assert p_value(5.0, np.zeros(199)) == pytest.approx(1 / 200)
    assert p_value(0.0, np.zeros(199)) == 1
    assert p_value([1.0, 0.0], [[0.0, 0.0], [2.0, 0.0]]) == pytest.approx([2 / 3, 1])
    with pytest.raises(SteeringError, match="at least one draw"):
        p_value(1.0, [])


def test_p_values_of_noise_are_uniform():
    rng = np.random.default_rng(0)
    found = [p_value(rng.normal(), rng.normal(size=99)) for _ in range(400)]
    assert abs(np.mean(np.array(found) <= 0.05) - 0.05) < 0.03


def test_holm_and_benjamini_hochberg_by_hand():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
    assert (holm([0.9, 0.8]) <= 1).all()


def test_labels_of_whole_groups_are_exchanged_between_groups():
    groups = [f"s{i // 10}" for i in range(60)]
    labels = np.repeat(["f", "m", "f", "m", "m", "f"], 10)
    rng = np.random.default_rng(0)
    drawn = [permuted_labels(labels, groups, rng) for _ in range(20)]
    for each in drawn:
        assert all(len(set(each[i * 10 : i * 10 + 10])) == 1 for i in range(6))
        assert (each == "f").sum() == 30
    assert len({tuple(each) for each in drawn}) > 5


def test_labels_that_vary_within_groups_are_permuted_there():
    groups = ["a"] * 6 + ["b"] * 4
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        each = permuted_labels(labels, groups, rng)
        assert (each[:6].sum(), each[6:].sum()) == (1, 3)


def test_permuting_clips_freely_finds_a_speaker_where_exchange_does_not():
    """A score that is a speaker's own, and no gender's: the toy permutes clips and calls it significant."""
    rng = np.random.default_rng(1)
    groups = [f"s{i // 20}" for i in range(120)]
    gender = np.repeat([0, 1, 0, 1, 1, 0], 20)
    score = np.repeat([2.0, 3.0, 1.0, 2.5, 0.5, 1.2], 20) + 0.01 * rng.normal(size=120)

    def gap(labels):
        return abs(score[labels == 1].mean() - score[labels == 0].mean())

    naive = p_value(gap(gender), [gap(rng.permutation(gender)) for _ in range(200)])
    ours = p_value(gap(gender), [gap(permuted_labels(gender, groups, rng)) for _ in range(200)])
    assert naive < 0.01
    assert ours > 0.1


@pytest.mark.parametrize("seed", range(20))
def test_shifts_stay_in_their_clip_and_are_a_second_at_least(seed):
    starts = np.cumsum([0, 100, 250, 130])
    rows, short = shifted_rows(starts, 50.0, np.random.default_rng(seed))
    assert short == 0
    for first, last in pairwise(starts):
        own = rows[first:last]
        assert sorted(own) == list(range(first, last))
        by = (first - own[0]) % (last - first)
        assert 50 <= by <= last - first - 50
        assert (np.diff(own) == 1).sum() >= last - first - 2


def test_clips_too_short_for_a_shift_are_counted():
    rows, short = shifted_rows([0, 40, 200], 50.0, np.random.default_rng(0))
    assert short == 1
    assert rows[0] == 20
    rows, short = shifted_rows([0, 0, 1], None, np.random.default_rng(0))
    assert (rows.tolist(), short) == ([0], 2)
