"""Ranking, on pooled features whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audiosae_steer.errors import SteeringError
from audiosae_steer.evaluate.metrics.feature_ranking import (
    auc,
    probe_scores,
    resampler,
    separation,
    stability,
    standardised,
    top_features,
    weigh,
)

MORE, LESS = (3, 17), (30,)
METHODS = ("l1", "l2", "fisher", "difference")


def planted(count: int = 60, seed: int = 0, features: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Random features, two of which are higher, and one lower, with the concept; one fires nowhere."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2 == 0
    found = rng.random((count, features))
    found[np.ix_(labels, MORE)] += 1.5
    found[np.ix_(labels, LESS)] -= 1.2
    found[:, 5] = 0.0
    return found, labels


@pytest.mark.parametrize("method", METHODS)
def test_planted_features_are_found_with_their_signs(method):
    features, labels = planted()
    weights = weigh(features, labels, method, wanted=3).values
    assert set(top_features(weights, 3)) == {*MORE, *LESS}
    assert (weights[list(MORE)] > 0).all()
    assert (weights[list(LESS)] < 0).all()
    assert weights[5] == 0
    assert set(top_features(weights, 2, positive=True)) == set(MORE)


@pytest.mark.parametrize("method", METHODS)
def test_without_the_concept_the_signs_turn(method):
    features, labels = planted()
    weights, turned = (weigh(features, flags, method, wanted=3).values for flags in (labels, ~labels))
    chosen = [*MORE, *LESS]
    np.testing.assert_allclose(weights[chosen], -turned[chosen], rtol=2e-2)


def test_scores_as_written_down():
    features = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [6.0, 3.0]])
    labels = np.array([False, False, True, True])
    assert weigh(features, labels, "difference").values.tolist() == [4.0, 1.0]
    np.testing.assert_allclose(weigh(features, labels, "fisher").values, [16 / 2, 1 / 1], rtol=1e-5)


def test_regressions_do_not_mind_a_feature_s_unit():
    features, labels = planted()
    units = np.geomspace(0.01, 100, features.shape[1])
    for method in ("l1", "l2"):
        plain, scaled = (weigh(x, labels, method, wanted=3).values for x in (features, features * units))
        np.testing.assert_allclose(plain, scaled, atol=1e-4)
    scaled = standardised(features)
    assert np.allclose(scaled.std(0), np.where(features.std(0) > 0, 1, 0))


def test_the_l1_is_relaxed_until_enough_features_have_a_weight():
    features, labels = planted(seed=1)
    labels[:8] = ~labels[:8]  # so that no feature tells for certain
    few, many = (weigh(features, labels, "l1", wanted=wanted) for wanted in (2, 12))
    assert 2 <= np.count_nonzero(few.values) < 12 <= np.count_nonzero(many.values)
    assert few.C < many.C
    again = weigh(features, labels, "l1", C=few.C)
    assert np.array_equal(again.values, few.values)
    positive = weigh(features, labels, "l1", wanted=6, positive=True)
    assert np.count_nonzero(positive.values > 0) >= 6


def test_an_l1_that_never_reaches_enough_takes_the_most_it_gave():
    features, labels = planted(seed=1)
    features[labels, 3] += 5.0
    best = weigh(features, labels, "l1", wanted=39)
    others = [weigh(features, labels, "l1", C=C) for C in (1e-2, 1.0, 30.0)]
    assert np.count_nonzero(best.values) < 39
    assert all(np.count_nonzero(best.values) >= np.count_nonzero(other.values) for other in others)


def test_top_features_have_a_weight_and_ties_go_to_the_first():
    weights = np.array([0.0, -2.0, 1.0, 2.0, 0.0, 1.0])
    assert top_features(weights, 3).tolist() == [1, 3, 2]
    assert top_features(weights, 9).tolist() == [1, 3, 2, 5]
    assert top_features(weights, 2, positive=True).tolist() == [3, 2]
    assert top_features(-np.abs(weights), 2, positive=True).tolist() == []


@given(
    hnp.arrays(np.float64, st.integers(2, 25), elements=st.integers(-3, 3).map(float)),
    st.data(),
)
def test_auc_is_how_often_the_one_is_above_the_other(scores, data):
    flags = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    flags[:2] = [True, False]
    labels = np.array(flags)
    present, absent = scores[labels][:, None], scores[~labels][None]
    expected = ((present > absent) + 0.5 * (present == absent)).mean()
    assert auc(scores, labels) == pytest.approx(expected)


def test_the_probe_sees_only_what_it_is_fitted_on():
    (fit, labels), (held, truth) = planted(seed=2), planted(seed=3)
    chosen = [*MORE, *LESS]
    scores = probe_scores(fit[:, chosen], labels, held[:, chosen])
    assert auc(scores, truth) > 0.99
    one = probe_scores(fit[:, chosen], labels, held[:1, chosen])  # what else is held out does not matter
    np.testing.assert_allclose(one, scores[:1])


def test_the_interval_widens_where_there_are_fewer_recordings():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2 == 0
    scores = labels + rng.normal(size=80)
    alone = separation(scores, labels, [str(i) for i in range(80)])
    pieces = separation(scores, labels, [str(i // 16 * 2 + i % 2) for i in range(80)])
    assert alone.auc == pieces.auc == auc(scores, labels)
    for found in (alone, pieces):
        assert found.low < found.auc < found.high
    certain = separation(labels.astype(float), labels, [str(i) for i in range(80)])
    assert certain == (1.0, 1.0, 1.0)


def test_draws_keep_recordings_whole_and_kinds_in_number():
    labels = np.array([True] * 6 + [False] * 4)
    groups = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    draw = resampler(labels, groups)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(30):
        rows = draw(rng)
        assert (labels[rows].sum(), (~labels[rows]).sum()) == (6, 4)
        counts = np.bincount(rows, minlength=10)
        assert (counts[::2] == counts[1::2]).all()
        seen |= set(rows.tolist())
    assert seen == set(range(10))


@pytest.mark.parametrize("method", METHODS)
def test_planted_features_come_back_and_one_recording_s_own_do_not(method):
    features, labels = planted(seed=4)
    groups = [f"r{i // 2}-{i % 2}" for i in range(60)]
    features[2, 8] += 8.0  # one clip, of one recording
    chosen = np.array([*MORE, 8])
    told = []

    def choose(x: Any, flags: Any) -> Any:
        return top_features(weigh(x, flags, method, wanted=3, C=1.0).values, 3)

    again = stability(features, labels, groups, chosen, choose, resamples=12, progress=lambda *done: told.append(done))
    assert (again[:2] >= 0.75).all()
    assert again[2] < again[:2].min()
    assert told[-1] == ("resampling", 12, 12)
    once = stability(features, labels, groups, chosen, choose, resamples=12)
    assert np.array_equal(once, again)


@pytest.mark.parametrize(
    ("features", "labels", "method", "message"),
    [
        (np.zeros((4, 2)), np.ones(4, bool), "l2", "all 4 clips are of one kind"),
        (np.full((4, 2), np.nan), np.array([1, 1, 0, 0], bool), "l2", "NaN.*check the audio and the SAE"),
        (np.zeros((4, 2)), np.ones(3, bool), "l2", r"\(4, 2\) and labels \(3,\) do not go together"),
        (np.zeros((4, 2)), np.array([1, 1, 0, 0], bool), "ridge", "'ridge' is unknown; expected one of l1, l2"),
    ],
)
def test_what_cannot_be_ranked_says_why(features, labels, method, message):
    with pytest.raises(SteeringError, match=message):
        weigh(features, labels, method)


def test_features_that_never_vary_have_no_weight():
    for method in METHODS:
        assert not weigh(np.ones((6, 3)), np.arange(6) % 2 == 0, method).values.any()
