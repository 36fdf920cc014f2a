"""Names of planted features, and what naive measures make of features that know nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch
from planted import identity_sae

from audiosae_steer.analyse import Patterns, Phones, PhoneSettings, PhoneSpan, Residuals, name_patterns, phones
from audiosae_steer.analyse.phone_names.name_scores import score_names
from audiosae_steer.errors import SteeringError

QUICK = PhoneSettings(permutations=50, shifts=3, draws=50, controls=())
SEEDS = range(5)
RATE, NAMES, FEATURES, PLANTED = 50.0, 10, 50, 30
CLIPS, STRETCHES, LENGTH = 24, 60, 5
"""Clips of 60 phones of 5 frames each: 6 s."""


def planted(seed, late=0.0):
    """50 features, of which the first 30 fire on one phone with p = .6 and elsewhere with .01; and the alignment, which
    may be late."""
    rng = np.random.default_rng(seed)
    clips, spans = [], []
    for _ in range(CLIPS):
        said = rng.integers(NAMES, size=STRETCHES)
        frame = np.repeat(said, LENGTH)
        chance = np.full((len(frame), FEATURES), 0.05)
        for feature in range(PLANTED):
            chance[:, feature] = np.where(frame == feature % NAMES, 0.6, 0.01)
        clips.append(rng.random(chance.shape) < chance)
        seconds = LENGTH / RATE
        spans.append([PhoneSpan(i * seconds + late, (i + 1) * seconds + late, f"p{own}") for i, own in enumerate(said)])
    return Patterns.of(clips, rate=RATE), spans


def naive(patterns, spans, names):
    """The paper's accuracy: a frame is right if any active feature has the right name, and nothing stands beside it."""
    right = total = 0
    for number, clip in enumerate(spans):
        rows = patterns.active[patterns.starts[number] : patterns.starts[number + 1]].toarray()
        for frame, fired in enumerate(rows):
            phone = clip[frame // LENGTH].phone
            right += any(names[feature] == phone for feature in np.flatnonzero(fired))
            total += 1
    return right / total


@pytest.mark.parametrize("seed", SEEDS)
def test_the_planted_features_alone_are_named(seed):
    patterns, spans = planted(seed)
    found = name_patterns(patterns, spans, settings=QUICK)
    assert sorted(each.feature for each in found.named) == list(range(PLANTED))
    assert all(each.phone == f"p{each.feature % NAMES}" for each in found.named)
    assert found.held == PLANTED
    assert found.named_by_chance == 0
    assert found.scores.any_match >= 0.9
    assert found.scores.any_null <= 0.25
    assert found.scores.vote >= 0.8
    assert found.scores.vote_null < 0.2
    assert found.scores.p == pytest.approx(1 / 51)
    assert [row.features for row in found.rows] == [3] * NAMES
    assert sum(map(sum, found.confusion)) == sum(row.report_frames for row in found.rows)
    onset = np.array([each.onset for each in found.named], float).mean(0)
    assert onset[:5].max() < 0.15  # before the phone
    assert onset[5:10].min() > 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_any_match_of_features_that_always_fire_has_no_excess(seed):
    rng = np.random.default_rng(seed)
    patterns, spans = planted(seed)
    always = replace(patterns, active=scipy.sparse.csr_matrix(np.ones((patterns.frames, FEATURES), np.int32)))
    names = np.repeat(np.arange(NAMES), FEATURES // NAMES)
    assert naive(always, spans[:2], [f"p{name}" for name in names]) == 1.0  # as the naive measure has it: perfect
    truth = rng.integers(NAMES, size=400)
    groups = ["a", "b"] * 200
    scores = score_names(always.active[:400], (names, np.ones(50)), truth, NAMES, groups, QUICK).scores
    assert (scores.any_match, scores.any_null, scores.excess) == (1.0, 1.0, 0.0)
    assert scores.vote < 0.25
    found = name_patterns(always, spans, settings=QUICK)
    assert found.named == ()
    assert found.scores is None


@pytest.mark.parametrize("seed", SEEDS)
def test_phones_that_are_late_name_hardly_any_feature(seed):
    found = name_patterns(*planted(seed, late=0.2), settings=QUICK)
    assert len(found.named) < 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_frequent_phone_names_nothing_without_lift(seed):
    rng = np.random.default_rng(seed)
    said = np.where(rng.random((CLIPS, STRETCHES)) < 0.6, 0, rng.integers(1, NAMES, (CLIPS, STRETCHES)))
    clips = [rng.random((STRETCHES * LENGTH, 20)) < 0.1 for _ in range(CLIPS)]
    spans = [[PhoneSpan(i * 0.1, (i + 1) * 0.1, f"p{own}") for i, own in enumerate(clip)] for clip in said]
    patterns = Patterns.of(clips, rate=RATE)
    assert name_patterns(patterns, spans, settings=QUICK).named == ()
    naive_names = name_patterns(patterns, spans, settings=replace(QUICK, least_lift=0.0)).named
    assert len(naive_names) >= 15  # purity alone


def test_silence_counts_against_purity_and_is_no_name():
    rng = np.random.default_rng(0)
    spans = [[PhoneSpan(i * 0.1, (i + 1) * 0.1, "sil" if i % 2 else f"p{i % 6}") for i in range(STRETCHES)]] * CLIPS
    silent = np.repeat(np.arange(STRETCHES) % 2 == 1, LENGTH)
    first = np.repeat(np.arange(STRETCHES) % 6 == 0, LENGTH)
    fired = np.stack([silent | (first & (rng.random(len(first)) < 0.5)), first], 1)
    found = name_patterns(Patterns.of([fired] * CLIPS, rate=RATE), spans, settings=QUICK)
    assert [(each.feature, each.phone) for each in found.named] == [(1, "p0")]
    assert found.silence == pytest.approx(0.5)


def test_an_sae_with_controls_and_the_same_bytes_twice():
    patterns, spans = planted(0)
    rng = np.random.default_rng(1)
    dense = patterns.active.toarray() * (1 + rng.random(patterns.active.shape))
    clips = [torch.from_numpy(rows).float() for rows in np.split(dense, CLIPS)]
    settings = replace(QUICK, controls=("random", "dense"), probe_frames=500, shifts=1)
    runs = [phones(identity_sae(FEATURES), Residuals.of(clips, rate=RATE), spans, settings=settings) for _ in range(2)]
    found = runs[0]
    assert found.to_json() == runs[1].to_json()
    assert Phones.from_json(found.to_json()) == found
    assert len(found.named) == PLANTED
    assert found.controls[0].name == "random"
    assert found.controls[0].named < PLANTED / 2  # rows that mix the features know a little
    assert found.controls[1].named == PLANTED  # here the residual's coordinates are the features
    assert found.probe.accuracy > found.majority + 0.5
    assert found.of("p3")[0].phone == "p3"
    assert "| SAE |" in found.table()


def test_data_that_cannot_bear_it_is_refused():
    patterns, spans = planted(0)
    with pytest.raises(SteeringError, match="give one alignment for each clip"):
        name_patterns(patterns, spans[:3], settings=QUICK)
    with pytest.raises(SteeringError, match="no feature fires on 5000 aligned frames"):
        name_patterns(patterns, spans, settings=replace(QUICK, min_frames=5000))
    with pytest.raises(SteeringError, match="all 24 clips are of one speaker"):
        name_patterns(replace(patterns, groups=("a",) * CLIPS), spans, settings=QUICK)
