"""Bootstrap over groups."""

from __future__ import annotations

import numpy as np
import pytest

from audiosae_steer.analyse.frame.intervals import bootstrap, group_counts, group_rows, interval_of


def test_groups_widen_an_interval_as_they_should():
    """Clips of one speaker repeat each other: the toy draws clips, and is far too sure."""
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=12), 30)
    groups = [f"s{i // 30}" for i in range(360)]
    ours = bootstrap(lambda rows: values[rows].mean(), groups, draws=300)
    naive = bootstrap(lambda rows: values[rows].mean(), [str(i) for i in range(360)], draws=300)
    assert ours.high - ours.low > 3 * (naive.high - naive.low)
    assert ours.low < values.mean() < ours.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        values = rng.normal(size=40)
        found = bootstrap(
            lambda rows, values=values: values[rows].mean(), list(map(str, range(40))), draws=200, seed=seed
        )
        hits += found.low <= 0 <= found.high
    assert 85 <= hits <= 100


def test_counts_are_draws_of_groups():
    counts = group_counts(7, draws=50, seed=3)
    assert counts.shape == (50, 7)
    assert (counts.sum(1) == 7).all()
    assert np.array_equal(counts, group_counts(7, draws=50, seed=3))


def test_rows_of_groups():
    assert [rows.tolist() for rows in group_rows(["b", "a", "b"])] == [[1], [0, 2]]


def test_nothing_to_draw():
    assert bootstrap(lambda rows: 0.0, ["a", "a"]) is None
    assert interval_of([np.nan]) is None
    assert interval_of([1.0, np.nan, 3.0]) == pytest.approx((1.05, 2.95))
