"""Completeness of planted codes, and what the published measure makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audiosae_steer.analyse import Attributes, Completeness, CompletenessSettings, completeness
from audiosae_steer.errors import SteeringError

QUICK = CompletenessSettings(controls=(), draws=50, permutations=40, blocks=4, alphas=15, folds=3)
SEEDS = range(3)


def published(code, attribute, alpha=0.1):
    """The naive measure: one penalty for all, R² on the same clips, and C = 1 where every weight is 0."""
    from sklearn.linear_model import Lasso

    z = (code - code.mean(0)) / np.where(code.std(0) > 0, code.std(0), 1)
    y = (attribute - attribute.mean()) / attribute.std()
    model = Lasso(alpha=alpha, max_iter=3000, tol=1e-3).fit(z, y)
    shares = np.abs(model.coef_) / max(np.abs(model.coef_).sum(), 1e-12)
    shares = shares[shares > 0]
    return 1 - -(shares * np.log(shares)).sum() / np.log(code.shape[1]), model.score(z, y)


def sparse(rng, clips, columns):
    return rng.exponential(1, (clips, columns)) * (rng.random((clips, columns)) < 0.3)


def carried(rng, code, pairs, noise=0.4):
    """Attributes (clips, pairs), each of two columns."""
    z = code / code.std(0)
    return np.stack([z[:, i] + z[:, j] + noise * rng.standard_normal(len(code)) for i, j in pairs], 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_carriers_of_2048_are_counted_and_found(seed):
    rng = np.random.default_rng(seed)
    code = sparse(rng, 400, 2048)
    pairs = [tuple(each) for each in rng.permutation(2048)[:6].reshape(3, 2)]
    code[:, np.array(pairs).reshape(-1)] = rng.exponential(1, (400, 6))
    values = np.c_[carried(rng, code, pairs), rng.standard_normal(400)]
    found = completeness({"SAE": code}, Attributes.of(values, ["a", "b", "c", "noise"]), settings=QUICK)
    row = found.of("SAE")
    assert found.common == ("a", "b", "c")
    assert row.effective == pytest.approx(2.0, abs=0.3)
    assert row.c_paper >= 0.895
    assert row.r2 > 0.87
    for name, pair in zip("abc", pairs, strict=True):
        assert {column for column, _ in found.score(name, "SAE").features[:2]} == set(pair)
    # noise is not explained, and has no completeness
    noise = found.score("noise", "SAE")
    assert not noise.explained
    assert noise.effective is noise.c_paper is noise.c_common is None
    assert noise.r2 < 0.1
    # the toy has it explained on the clips that it was fitted on, or as complete as can be
    c, r2 = published(code, values[:, 3], alpha=0.1)
    gone, _ = published(code, values[:, 3], alpha=0.5)
    assert c > 0.3
    assert r2 > 0.15
    assert gone == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rotation_explains_as_much_with_far_more_columns(seed):
    rng = np.random.default_rng(seed)
    code = rng.exponential(1, (800, 64))
    values = carried(rng, code, [(0, 1), (2, 3), (4, 5)])
    found = completeness(
        {"SAE": code}, Attributes.of(values, list("abc")), settings=replace(QUICK, controls=("rotated",))
    )
    pair = found.against("rotated")
    assert found.of("rotated").r2 == pytest.approx(found.of("SAE").r2, abs=0.03)
    assert pair.ratio >= 10
    assert pair.interval.low > 8
    assert pair.verdict == "more carriers"
    assert found.of("SAE").modularity > 0.9 > 0.5 > found.of("rotated").modularity
    # a toy that looks at what is explained alone sees no difference
    assert found.of("rotated").explained == found.of("SAE").explained == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_size_alone_is_no_completeness(seed):
    """A random projection to 16 times the size: c_paper rises, the number of carriers hardly moves."""
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((500, 16))
    values = dense @ rng.standard_normal((16, 3)) + 0.6 * rng.standard_normal((500, 3))
    wide = dense @ rng.standard_normal((16, 256))
    found = completeness(
        {"wide": wide, "dense": dense},
        Attributes.of(values, list("abc")),
        settings=replace(QUICK, controls=("projection",)),
    )
    assert len(found.common) == 3
    assert found.of("wide").c_paper > found.of("dense").c_paper + 0.25
    assert 0.75 < found.against("dense").ratio < 1.33
    assert 0.75 < found.against("random projection").ratio < 1.33
    assert not found.more_complete
    assert found.figures()[-1].value == "not shown"
    # the toy calls it more complete
    toy = [np.mean([published(code, values[:, i])[0] for i in range(3)]) for code in (wide, dense)]
    assert toy[0] > toy[1] + 0.25


def test_a_sparse_code_is_more_complete_than_random_ones_of_its_size():
    rng = np.random.default_rng(0)
    code = rng.exponential(1, (600, 60)) * (rng.random((600, 60)) < 0.5)
    dense = code @ np.linalg.qr(rng.standard_normal((60, 60)))[0]
    values = carried(rng, code, [(0, 1), (2, 3)])
    settings = replace(QUICK, controls=("projection", "relu-topk", "rotated"))
    groups = [f"speaker {i % 12}" for i in range(600)]
    codes, table = {"SAE": code, "dense": dense}, Attributes.of(values, ["pitch: a", "pitch: b"])
    found = completeness(codes, table, groups=groups, settings=settings)
    assert found.more_complete
    assert [row.name for row in found.codes[1:]] == ["dense", "random projection", "random ReLU-TopK", "rotated"]
    assert found.attributes[0].family == "pitch"
    assert not any("no groups" in warning for warning in found.provenance.warnings)
    read = Completeness.from_json(found.to_json())
    assert read.to_json() == found.to_json() == completeness(codes, table, groups=groups, settings=settings).to_json()
    assert "| SAE | 60 |" in read.table()
    by_permutation = completeness(codes, table, groups=groups, settings=replace(settings, importance="permutation"))
    assert by_permutation.of("SAE").effective == pytest.approx(2, abs=0.3)
    assert by_permutation.of("rotated").effective > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_speakers_alone_are_no_explanation(seed):
    """Columns that tell speakers, and an attribute that speakers differ in: other speakers are not explained."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(16), 25)
    code = np.eye(16)[speaker] + 0.1 * rng.standard_normal((400, 16))
    values = rng.standard_normal(16)[speaker, None] + 0.2 * rng.standard_normal((400, 1))
    groups = [f"speaker {each}" for each in speaker]
    found = completeness({"SAE": code}, Attributes.of(values, ["a"]), groups=groups, settings=QUICK)
    assert not found.score("a", "SAE").explained
    # the toy takes clips for groups, which the result warns of
    naive = completeness({"SAE": code}, Attributes.of(values, ["a"]), settings=QUICK)
    assert naive.score("a", "SAE").explained
    assert "each clip counts as a speaker" in naive.provenance.warnings[0]


def test_data_that_cannot_bear_it():
    rng = np.random.default_rng(0)
    code, values = rng.random((60, 4)), rng.random((60, 2))
    values[:, 1] = 3
    values[:50, 0] = np.nan
    found = completeness({"SAE": code}, Attributes.of(values, ["rare", "constant"]), settings=QUICK)
    assert [score.r2 for row in found.attributes for score in row.scores] == [None, None]
    assert any("no attribute is explained by all" in warning for warning in found.provenance.warnings)
    table = Attributes.of(values, ["a", "b"])
    with pytest.raises(SteeringError, match="all 60 clips are of one speaker"):
        completeness({"SAE": code}, table, groups=["one"] * 60, settings=QUICK)
    with pytest.raises(SteeringError, match="of one speaker or recording, so no penalty"):
        completeness({"SAE": code}, table, groups=["one"] * 30 + ["two"] * 30, settings=QUICK)
    with pytest.raises(SteeringError, match="attributes are of 60 clips"):
        completeness({"SAE": code[:9]}, table, settings=QUICK)
    with pytest.raises(SteeringError, match="control 'some' is unknown"):
        completeness({"SAE": code}, table, settings=replace(QUICK, controls=("some",)))
    without = completeness({"SAE": code}, table, settings=replace(QUICK, controls=("projection",)))
    assert any("no code is named dense" in warning for warning in without.provenance.warnings)
