"""Label search on planted features, and what naive searches make of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import as_clips, coordinates
from sklearn.metrics import f1_score

from audiosae_steer.analyse import ClipCodes, LabelSearch, LabelSettings, label_search, search_codes
from audiosae_steer.errors import SteeringError

QUICK = LabelSettings(permutations=100, naive_permutations=1, draws=20, controls=())
SEEDS = range(5)
TWENTY = range(20)


def codes(values):
    """Pooled codes whose features fire throughout."""
    values = np.asarray(values, np.float32)
    frames = np.full(len(values), 20)
    return ClipCodes(values, values / 2, values / 2, np.full(values.shape, 20, np.int32), frames)


def names(positive):
    return np.where(positive, "laughter", "other").tolist()


def planted(seed, clips=400, features=2000, share=0.2, flips=0.1):
    """Noise, and feature 7 that fires where the label is, but for some clips."""
    rng = np.random.default_rng(seed)
    positive = np.arange(clips) < share * clips
    values = rng.random((clips, features))
    values[:, 7] = (positive ^ (rng.random(clips) < flips)) + 0.1 * rng.random(clips)
    return values, positive


def naive(values, positive):
    """Features with an F1 above 0.5 at any threshold, chosen and scored on the same clips."""
    found = []
    for feature in range(values.shape[1]):
        said = values[:, feature] > np.sort(values[:, feature])[:-1, None]
        scores = 2 * (said & positive).sum(1) / (said.sum(1) + positive.sum())
        if max(scores) > 0.5:
            found.append(feature)
    return found


def test_the_planted_feature_alone_is_found():
    exact = 0
    for seed in TWENTY:
        values, positive = planted(seed)
        row = search_codes(codes(values), names(positive), settings=QUICK).of("laughter")
        exact += [each.feature for each in row.kept] == [7]
        assert row.base_f1 == pytest.approx(1 / 3, abs=0.01)
        assert row.smallest_f1 < 0.6
    assert exact >= 19


def test_permuted_labels_find_nothing():
    empty = 0
    for seed in TWENTY:
        values, positive = planted(seed, features=400)
        order = np.random.default_rng(seed + 100).permutation(len(positive))
        found = search_codes(codes(values), names(positive[order]), settings=QUICK)
        empty += not found.found
    assert empty >= 19


@pytest.mark.parametrize("seed", SEEDS)
def test_few_clips_make_a_naive_search_find_what_is_not_there(seed):
    rng = np.random.default_rng(seed)
    values, positive = rng.random((40, 300)), np.arange(40) < 12
    row = search_codes(codes(values), names(positive), settings=QUICK).of("laughter")
    assert row.kept == ()
    assert row.smallest_f1 > 0.5
    assert row.naive > 30  # chosen and scored on the same clips
    assert row.best.find_f1 > row.best.f1 + 0.1
    if seed == 0:
        assert row.naive == len(naive(values, positive))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_label_of_half_the_clips_is_not_told_by_saying_yes(seed):
    rng = np.random.default_rng(seed)
    positive = np.arange(200) < 100
    values = 5 + rng.random((200, 50))  # always on
    found = search_codes(codes(values), names(positive), settings=QUICK)
    row = found.of("laughter")
    assert row.base_f1 == pytest.approx(2 / 3)
    assert row.kept == ()
    assert row.naive == 50  # the toy keeps them all, at an F1 of .667
    assert f1_score(positive, values[:, 0] > 0) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_inverse_feature_is_not_lost(seed):
    rng = np.random.default_rng(seed)
    positive = np.arange(200) < 40
    values = rng.random((200, 30))
    values[:, 3] = np.where(positive, 0.0, 1 + rng.random(200))
    row = search_codes(codes(values), names(positive), settings=QUICK).of("laughter")
    assert [(each.feature, each.inverse) for each in row.kept] == [(3, True)]
    assert row.kept[0].f1 == pytest.approx(1)
    assert row.kept[0].average_precision == pytest.approx(1)
    # the toy looks above thresholds only
    assert 3 not in naive(values, positive)


@pytest.mark.parametrize("seed", SEEDS)
def test_features_of_recordings_are_not_those_of_labels(seed):
    """Clips of a recording are alike, and so labels are permuted over recordings."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(16), 12)
    positive = group % 2 == 0
    values = rng.random((16, 400))[group] + 0.01 * rng.random((192, 400))
    groups = [f"speaker {each}" for each in group]
    found = search_codes(codes(values), names(positive), groups, settings=QUICK)
    assert found.of("laughter").kept == ()
    # the toy splits and permutes clip by clip
    assert len(search_codes(codes(values), names(positive), settings=QUICK).of("laughter").kept) > 3


def test_many_labels_are_corrected_for():
    rng = np.random.default_rng(0)
    labels = [f"label {i}" for i in np.repeat(np.arange(8), 10)]
    own = np.array(labels) == "label 3"
    values = rng.random((80, 10))
    values[:, 7] += own
    settings = replace(QUICK, permutations=199)
    # the toy asks of each label for itself
    alone = search_codes(codes(values), names(own), settings=settings).of("laughter")
    assert (alone.best.feature, alone.best.q) == (7, pytest.approx(1 / 200))
    found = search_codes(codes(values), labels, settings=settings)
    assert found.of("label 3").best.q == pytest.approx(8 / 200)
    assert found.found == ("label 3",)
    few = search_codes(codes(values), labels, settings=QUICK)
    assert few.found == ()
    assert few.of("label 3").smallest_f1 == 1.0
    assert any("ask for at least 160" in warning for warning in few.provenance.warnings)


def test_an_sae_its_controls_and_time():
    rng = np.random.default_rng(0)
    positive = np.arange(40) < 20
    clips = 0.3 * rng.standard_normal((40, 60, 16)) - 1
    clips[:, :, 5] = np.where(positive[:, None] & (np.arange(60) < 30), 2, -2) + 0.1 * rng.random((40, 60))
    clips[:, ::2, :4] += 3  # features that fire alike everywhere
    labels = names(positive)
    residuals = as_clips(clips, labels=labels)
    settings = replace(QUICK, controls=("dense", "random", "permuted"))
    found = label_search(coordinates(16), residuals, settings=settings)
    best = found.of("laughter").kept[0]
    assert (best.feature, best.f1, best.precision, best.recall) == (5, 1, 1, 1)
    assert best.overlap_in_time == pytest.approx(0.5)
    assert best.interval == (1, 1)
    other = found.of("other").kept[0]
    assert (other.feature, other.inverse) == (5, True)
    assert other.overlap_in_time == pytest.approx(2 / 3)
    assert [each.name for each in found.controls] == ["dense", "random", "permuted"]
    assert found.controls[0].rows[0].best_f1 == 1  # the coordinate itself
    assert found.controls[2].rows[0].kept <= 16
    one, two = (label_search(coordinates(16), residuals, settings=settings).to_json() for _ in range(2))
    assert one == two
    assert LabelSearch.from_json(one).to_json() == one
    assert LabelSearch.from_json(one).table() == found.table()
    assert "| laughter: 5 |" in found.table()


def test_data_that_cannot_bear_it_is_refused():
    rng = np.random.default_rng(0)
    given = codes(rng.random((40, 5)))
    labels = names(np.arange(40) < 20)
    with pytest.raises(SteeringError, match="there are 1 labels"):
        search_codes(given, ["laughter"] * 40, settings=QUICK)
    with pytest.raises(SteeringError, match="1 of 40 clips have no label"):
        search_codes(given, [None, *labels[1:]], settings=QUICK)
    with pytest.raises(SteeringError, match="in one speaker or recording only"):
        search_codes(given, labels, labels, settings=QUICK)
    with pytest.raises(SteeringError, match="no feature fires on 5000 frames"):
        search_codes(given, labels, settings=replace(QUICK, min_frames=5000))
    with pytest.raises(SteeringError, match="codes of 40 clips, 2 labels"):
        search_codes(given, ["laughter", "other"], settings=QUICK)
    with pytest.raises(SteeringError, match="at least one permutation"):
        search_codes(given, labels, settings=replace(QUICK, permutations=0))
