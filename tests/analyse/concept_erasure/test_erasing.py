"""Erasure of planted concepts, and what a naive erasure makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import identity_sae, one_frame_clips

from audiosae_steer import SAE
from audiosae_steer.analyse import Erasure, ErasureSettings, Residuals, erasure
from audiosae_steer.errors import SteeringError

QUICK = ErasureSettings(
    penalties=(0.01,), margin=0.1, random_orders=0, controls=(), nonlinear=(), min_frames=5, min_clips=5, draws=200,
    permutations=50, background=("none",),
)  # fmt: skip
OTHERS = ("E", "I", "O", "U")
CLASSES = 40
"""Features of each concept."""


def vowels(rng, features=300, *, target=500, other=60, copies=1):
    """Codes and labels: A in features 0 to 39, and, with copies, in as many after the other concepts' 200."""
    labels = np.repeat(["A", "none", *OTHERS], [target, target, *[other] * 4])
    codes = 10 + rng.standard_normal((len(labels), features))
    for number, name in enumerate(("A", *OTHERS)):
        codes[:, CLASSES * number : CLASSES * (number + 1)] += 1.2 * (labels == name)[:, None]
    if copies == 2:
        codes[:, 200:240] += 1.2 * (labels == "A")[:, None]
    return np.maximum(codes, 0.01), labels.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_concept_is_erased_with_its_features_and_the_others_stay(seed):
    codes, labels = vowels(np.random.default_rng(seed))
    settings = replace(QUICK, concepts=OTHERS[:2], ks=(20, 35, 80))
    found = erasure(identity_sae(300), one_frame_clips(codes, labels), "A", settings=settings)
    assert len(set(found.ranking[:40]) & set(range(40))) >= 39
    assert 38 <= found.erased_k <= 42
    assert found.selectivity >= 0.99
    scores = {point.k: point.concept for point in found.points}
    assert scores[0].score > 0.99
    assert scores[35].score > 0.85
    assert scores[found.erased_k].upper <= 0.6
    assert scores[0].p == pytest.approx(1 / 51)
    assert (found.others, found.background) == (OTHERS[:2], ("none",))


def test_closed_mode_takes_elimination_for_information_and_says_so():
    """The toy is the paper's: one regression for all concepts."""
    codes, labels = vowels(np.random.default_rng(0), target=80, other=80)
    residuals = one_frame_clips(codes, labels)
    settings = replace(QUICK, mode="closed", ks=(20, 40, 80))
    found = erasure(identity_sae(300), residuals, "A", settings=settings)
    at_40 = next(point for point in found.points if point.k == 40)
    assert at_40.concept.score > 0.5
    assert found.erased_k is None or found.erased_k > 60
    assert found.others == OTHERS
    assert "told as none of the others" in found.table()
    assert len(at_40.others) == 4
    assert min(at_40.others) > 0.8


def test_random_order_does_not_erase():
    codes, labels = vowels(np.random.default_rng(0), other=20)
    found = erasure(
        identity_sae(300), one_frame_clips(codes, labels), "A", settings=replace(QUICK, ks=(40, 270), random_orders=4)
    )
    assert 38 <= found.erased_k <= 42
    assert found.random_erased_k is None or found.random_erased_k > 270
    assert next(each for each in found.random_order if each.k == 40).least > 0.9


def test_a_concept_written_twice_takes_twice_as_many():
    codes, labels = vowels(np.random.default_rng(0), other=20, copies=2)
    found = erasure(identity_sae(300), one_frame_clips(codes, labels), "A", settings=replace(QUICK, ks=(40, 75, 120)))
    assert 76 <= found.erased_k <= 84
    assert found.selectivity is None


def test_a_concept_in_the_error_alone_stays_there_and_the_report_says_so():
    rng = np.random.default_rng(0)
    labels = ["A", "none"] * 300
    x = 10 + rng.standard_normal((600, 20))
    x[::2, 15] += 4
    rows = torch.eye(20)[:10]
    sae = SAE(rows, torch.zeros(10), rows, torch.zeros(20), gate="relu")
    residuals = Residuals.of([torch.from_numpy(row[None]).float() for row in x], labels=labels)
    found = erasure(sae, residuals, "A", settings=replace(QUICK, ks=(5,), controls=("dense",), margin=0.15))
    # the toy looks at the features only: nothing to erase
    assert found.erased_k == 0
    assert found.error_auc >= 0.95
    assert any("the error term alone tells 'A'" in warning for warning in found.provenance.warnings)
    assert found.inputs[1].scored.score >= 0.95
    assert found.controls[0].points[0].concept.score >= 0.95
    assert found.controls[0].erased_k == 1


def test_what_is_ablated_is_gone_from_the_residual():
    rng = np.random.default_rng(0)
    labels = ["A", "none"] * 300
    codes = 10 + rng.standard_normal((600, 12))
    codes[::2, :3] += 2
    found = erasure(identity_sae(12), one_frame_clips(codes, labels), "A", settings=replace(QUICK, ks=(3, 6)))
    assert found.erased_k == 3
    scores = {each.name: each.scored.score for each in found.inputs}
    assert scores["residual"] > 0.95
    assert scores["residual, features ablated"] < 0.6
    assert scores["error term"] == 0.5


@pytest.mark.parametrize("seed", range(2))
def test_a_concept_that_is_not_linear_is_not_erased(seed):
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], (700, 2))
    labels = np.where(signs[:, 0] == signs[:, 1], "A", "none").tolist()
    codes = 10 + rng.standard_normal((700, 8))
    codes[:, :2] = 10 + 3 * signs + 0.5 * rng.standard_normal((700, 2))
    settings = replace(QUICK, ks=(4,), nonlinear=("rbf", "boosting"), margin=0.12)
    found = erasure(identity_sae(8), one_frame_clips(codes, labels), "A", settings=settings)
    # the toy believes the linear probe
    assert found.erased_k == 0
    assert max(each.scored.score for each in found.nonlinear) >= 0.9
    assert not found.erased
    assert any("not shown to be erased" in figure.says for figure in found.figures())


def test_the_result_reads_back_and_data_that_cannot_bear_it_is_refused():
    codes, labels = vowels(np.random.default_rng(0), 210, target=30, other=10)
    residuals, sae = one_frame_clips(codes, labels), identity_sae(210)
    small = replace(QUICK, ks=(50,), random_orders=2, concepts=("E",))
    found = erasure(sae, residuals, "A", settings=replace(small, background=(), margin=0.05))
    assert found.background == ("I", "O", "U", "none")
    assert any("too few clips to show that something is gone" in each for each in found.provenance.warnings)
    read = Erasure.from_json(found.to_json())
    assert read.to_json() == found.to_json()
    assert read.table() == found.table()
    with pytest.raises(SteeringError, match="no clip has the label 'X'"):
        erasure(sae, residuals, "X", settings=small)
    with pytest.raises(SteeringError, match="as concept and as background"):
        erasure(sae, residuals, "A", settings=replace(small, background=("A",)))
    with pytest.raises(SteeringError, match="each label is a concept"):
        erasure(sae, residuals.pick(range(0, 60)), "A", settings=replace(small, concepts=("none",), background=()))
    with pytest.raises(SteeringError, match="nonlinear probe 'deep' is unknown"):
        erasure(sae, residuals, "A", settings=replace(small, nonlinear=("deep",)))
    with pytest.raises(SteeringError, match="margin is 0"):
        erasure(sae, residuals, "A", settings=replace(small, margin=0))
    with pytest.raises(SteeringError, match="a recipe edits a layer"):
        found.recipe(3, None, sae, "recipe.json")
    with pytest.raises(SteeringError, match="say how many to take, from 1 to 210"):
        found.recipe(0, None, sae, "recipe.json")
