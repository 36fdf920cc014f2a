"""Thresholds against every cut there is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import f1_score

from audiosae_steer.analyse.labels.label_thresholds import Ranked, best_thresholds


@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    values = np.round(rng.standard_normal((30, 4)).clip(0), 1)  # ties, and zeros
    positive = rng.random(30) < 0.4
    found = best_thresholds(Ranked.of(values), positive)
    for feature in range(4):
        levels = np.unique(values[:, feature])
        cuts = [(a + b) / 2 for a, b in pairwise(levels)]
        direct = max(f1_score(positive, values[:, feature] > cut) for cut in cuts)
        inverse = max(f1_score(positive, values[:, feature] <= cut) for cut in cuts)
        assert found.f1[feature] == pytest.approx(max(direct, inverse))
        assert found.inverse[feature] == (inverse > direct)
        assert f1_score(positive, found.says(values)[:, feature]) == pytest.approx(found.f1[feature])
        # steps of a tenth of another unit, as the paper has them, pass over it
        scaled = values[:, feature] / 100
        steps = np.arange(scaled.min(), scaled.max(), 0.1)
        assert max(f1_score(positive, scaled > step) for step in steps) <= direct + 1e-12


def test_a_constant_feature_says_no():
    values = np.full((10, 1), 3.0)
    found = best_thresholds(Ranked.of(values), np.arange(10) < 5)
    assert found.f1[0] == 0
    assert not found.inverse[0]
    assert not found.says(values).any()
