"""Probe curves on planted codes, and what a naive probe makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import identity_sae, marked, one_frame_clips

from audiosae_steer.analyse import ProbeCurve, ProbeSettings, probe
from audiosae_steer.analyse.probes.class_probes import accuracies, areas, fisher_scores, logits
from audiosae_steer.errors import SiteError, SteeringError

FEATURES = 120
KINDS = [0, 1] * 400
LABELS = ["yes" if kind else "no" for kind in KINDS]
QUICK = ProbeSettings(
    penalties=(0.1,), unpenalised=False, random_orders=0, controls=(), min_frames=5, min_clips=5, draws=200,
    permutations=50,
)  # fmt: skip
SEEDS = range(4)


def score_alone(fit, kinds, held, truth):
    """The naive measure: no penalty, no null, whatever it is scored on."""
    guessed = logits(fit, np.asarray(kinds), held, None).argmax(1)
    return float(accuracies(guessed, np.asarray(truth), 2, np.ones((1, len(truth))))[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_features_that_carry_a_label_are_ranked_first_suffice_and_are_needed(seed):
    rng = np.random.default_rng(seed)
    carriers = rng.permutation(FEATURES)[:12]
    codes = marked(rng, KINDS, FEATURES, carriers) * np.exp(rng.uniform(-3, 3, FEATURES))
    found = probe(
        identity_sae(FEATURES), one_frame_clips(codes, LABELS), settings=replace(QUICK, ks=(1, 6, 12, 13, 14, 60))
    )
    assert len(set(found.ranking[:12]) & set(carriers.tolist())) >= 11
    assert found.full.score > 0.85
    assert found.full.auc > 0.9
    assert found.full.p == pytest.approx(1 / 51)
    assert found.full.null.low < 0.5 < found.full.null.high < 0.6
    assert 1 < found.saturation_k <= 12
    assert 12 <= found.erased_k <= 14
    assert found.at(1).score < 0.75 < found.at(12).score
    # the toy ranks by the difference of means, which loud features win
    difference = np.abs(codes[1::2].mean(0) - codes[::2].mean(0))
    assert len(set(np.argsort(-difference)[:12]) & set(carriers.tolist())) < 11


def test_random_order_needs_nearly_all_of_them():
    rng = np.random.default_rng(0)
    codes = marked(rng, KINDS, FEATURES, range(12))
    settings = replace(QUICK, ks=(12, 60, 106), random_orders=12)
    found = probe(identity_sae(FEATURES), one_frame_clips(codes, LABELS), settings=settings)
    assert found.erased_k == 12
    assert found.random_erased_k is None or found.random_erased_k > 0.9 * FEATURES
    at_12 = found.random_order[0]
    assert at_12.top + 0.1 < found.at(12).score
    assert at_12.unlearned > 0.8
    assert at_12.top_range.low <= at_12.top <= at_12.top_range.high


@pytest.mark.parametrize("seed", SEEDS)
def test_permuted_labels_leave_nothing(seed):
    rng = np.random.default_rng(seed)
    kinds = np.array(KINDS)[rng.permutation(len(KINDS))][:160]
    codes = marked(rng, [0] * 160, FEATURES, [])
    labels = ["yes" if kind else "no" for kind in kinds]
    found = probe(identity_sae(FEATURES), one_frame_clips(codes, labels), settings=replace(QUICK, ks=(10,)))
    assert found.saturation_k is None
    assert found.erased_k == 0
    assert found.full.p > 0.04
    for point in (found.full, *found.top, *found.unlearned):
        assert point.interval.low < 0.53
        assert point.interval.high > 0.47
    # the toy scores what it was fitted on, with nearly as many columns as clips
    assert score_alone(codes, kinds, codes, kinds) > 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_a_feature_that_leaks_in_one_part_does_not_help(seed):
    rng = np.random.default_rng(seed)
    codes = marked(rng, KINDS, 40, [])
    residuals = one_frame_clips(codes, LABELS)
    from audiosae_steer.analyse import split_parts

    parts = split_parts(residuals.groups, residuals.labels)
    codes[parts.find, 7] = 5 + 3.0 * np.array(KINDS)[parts.find]
    found = probe(identity_sae(40), one_frame_clips(codes, LABELS), settings=replace(QUICK, ks=(1,)))
    assert found.ranking[0] == 7
    assert found.at(1).interval.low < 0.5 < found.at(1).interval.high + 0.03
    assert found.saturation_k is None
    # the toy ranks and scores on all clips
    assert fisher_scores(codes, np.array(KINDS)).argmax() == 7
    assert score_alone(codes[:, [7]], KINDS, codes[:, [7]], KINDS) > 0.7


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_a_speaker_is_no_label(seed):
    """Features tell speakers, each of whom has one label: other speakers are not told, clips of the same are."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(24), 20)
    kinds = rng.permutation(np.repeat([0, 1], 12))[speaker]
    codes = np.maximum(8 + 2 * rng.standard_normal((24, 30))[speaker] + 0.3 * rng.standard_normal((480, 30)), 0.01)
    labels, groups = ["yes" if kind else "no" for kind in kinds], [f"speaker {each}" for each in speaker]
    found = probe(identity_sae(30), one_frame_clips(codes, labels, groups), settings=replace(QUICK, ks=(5,)))
    assert found.groups == (12, 12)
    assert found.full.interval.low <= 0.5
    assert found.full.interval.high - found.full.interval.low > 0.15
    assert found.full.p > 0.05
    # the toy splits by clip
    assert score_alone(codes[::2], kinds[::2], codes[1::2], kinds[1::2]) > 0.95


def test_reconstruction_by_an_orthonormal_decoder_is_as_good_as_the_features():
    rng = np.random.default_rng(0)
    codes = marked(rng, KINDS, 60, range(12))
    turn = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    residuals = one_frame_clips(codes, LABELS)
    scores = [
        [p.score for p in (*found.top, *found.unlearned)]
        for space in ("features", "reconstruction")
        for found in [probe(identity_sae(60, turn), residuals, settings=replace(QUICK, ks=(6, 12), space=space))]
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.0101)
    # a decoder that keeps two directions only cannot tell as much
    narrow = turn * (np.arange(60) < 2)
    poor = probe(identity_sae(60, narrow), residuals, settings=replace(QUICK, ks=(6,), space="reconstruction"))
    assert poor.full.score < scores[0][-4] - 0.1


def test_more_classes_folds_and_controls():
    rng = np.random.default_rng(0)
    kinds = np.arange(300) % 3
    codes = 8 + rng.standard_normal((300, 20))
    codes[np.arange(300), kinds] += 3
    found = probe(
        identity_sae(20),
        one_frame_clips(codes, [f"kind {kind}" for kind in kinds]),
        settings=replace(QUICK, ks=(3,), penalties=(1e-6, 0.1), unpenalised=True, controls=("dense", "random")),
    )
    assert found.chance == pytest.approx(1 / 3)
    assert set(found.ranking[:3]) == {0, 1, 2}
    assert found.full.auc is None
    assert found.at(3).score > 0.85
    assert found.erased_k == 3
    dense, random = found.controls
    assert (dense.name, random.name) == ("dense", "random")
    # the features are the residual here
    assert abs(dense.lead) < 0.03
    assert dense.lead_interval.low <= 0 <= dense.lead_interval.high
    assert random.curves.top[0].score < found.at(3).score - 0.1
    read = ProbeCurve.from_json(found.to_json())
    assert read.to_json() == found.to_json()
    assert read.table() == found.table()
    assert "| 3 | " in found.table()
    assert [figure.value for figure in found.figures()][:3] == [f"{found.full.score:.3f}", "3", "3"]


def test_areas_and_accuracies_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(2, size=60), rng.integers(8, size=60) / 8
    weights = rng.integers(3, size=(5, 60)).astype(float)
    expected = [metrics.roc_auc_score(truth, scores, sample_weight=each) for each in weights]
    assert areas(scores, truth == 1, weights) == pytest.approx(expected)
    guessed = rng.integers(2, size=60)
    expected = [metrics.balanced_accuracy_score(truth, guessed, sample_weight=each) for each in weights]
    assert accuracies(guessed, truth, 2, weights) == pytest.approx(expected)
    assert np.isnan(areas(scores, truth == 1, (truth == 1)[None].astype(float))[0])


def test_data_that_cannot_bear_it_is_refused():
    rng = np.random.default_rng(0)
    codes = marked(rng, KINDS[:40], 10, [])
    sae = identity_sae(10)
    with pytest.raises(SteeringError, match="all 40 clips have the label 'a'"):
        probe(sae, one_frame_clips(codes, ["a"] * 40))
    with pytest.raises(SteeringError, match="40 of 40 clips have no label"):
        probe(sae, one_frame_clips(codes, [None] * 40))
    with pytest.raises(SteeringError, match="in one speaker or recording only"):
        probe(sae, one_frame_clips(codes, LABELS[:40], ["one" if kind else "other" for kind in KINDS[:40]]))
    with pytest.raises(SteeringError, match="no feature fires on 50 frames"):
        probe(sae, one_frame_clips(codes, LABELS[:40]), settings=ProbeSettings(controls=()))
    with pytest.raises(SteeringError, match="control 'some' is unknown"):
        probe(sae, one_frame_clips(codes, LABELS[:40]), settings=replace(QUICK, controls=("some",)))
    with pytest.raises(SteeringError, match="at least one number above 0"):
        probe(sae, one_frame_clips(codes, LABELS[:40]), settings=replace(QUICK, penalties=()))
    with pytest.raises(SteeringError, match="-1 features cannot be taken"):
        probe(sae, one_frame_clips(codes, LABELS[:40]), settings=replace(QUICK, ks=(-1,)))
    with pytest.raises(SiteError, match="width 9"):
        probe(identity_sae(9), one_frame_clips(codes, LABELS[:40]), settings=QUICK)
