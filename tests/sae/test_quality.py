"""What is said of an SAE's quality, held against the definitions."""

from __future__ import annotations

import pytest
import torch
from activations import sparse_frames, write_shards
from make import KINDS, NORMS, make_sae

from audiosae_steer.data.activations.shards import open_shards
from audiosae_steer.sae.quality import FAR, measure, nested_fvu


def naive(sae, x: torch.Tensor) -> float:
    x = x.double()
    missing = (x - sae(x.float()).double()).square().sum()
    return float(missing / (x - x.mean(0)).square().sum())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "batchtopk"])
@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.kind)
def test_figures_are_those_of_the_definitions(kind, norm):
    sae = make_sae(kind, d=16, norm=norm)
    x = sparse_frames(5000, 3).float() / 5
    x[::500] *= 30
    far = x.norm(dim=-1) > FAR * x.norm(dim=-1).median()
    found = measure(sae, x)
    fired = sae.encode(x) > 0
    assert 0 < far.sum() < 100
    assert found.fvu == pytest.approx(naive(sae, x), rel=1e-4)
    assert found.fvu_near == pytest.approx(naive(sae, x[~far]), rel=1e-4)
    assert found.l0 == pytest.approx(float(fired.sum() / len(x)), rel=1e-6)
    assert found.l0_near == pytest.approx(float(fired[~far].sum() / (~far).sum()), rel=1e-6)
    assert found.far == pytest.approx(float(far.float().mean()))
    assert found.dead == pytest.approx(float((fired.sum(0) == 0).float().mean()))
    assert found.fvu == pytest.approx(sae.fvu(x), rel=1e-4)


def test_streamed_from_shards_they_are_the_same(tmp_path):
    sae = make_sae("jumprelu", d=16)
    train = sparse_frames(3000, 3)
    shards = open_shards(write_shards(tmp_path, train, train[:10], shards=5), 2)
    assert measure(sae, shards.train) == pytest.approx(measure(sae, train.float()), rel=1e-5)


def test_frames_that_are_all_the_same_have_no_variance_to_explain():
    found = measure(make_sae("relu"), torch.ones(50, 12))
    assert found.fvu != found.fvu  # no number: nothing to explain
    assert found.far == 0


def test_nested_figures_use_the_first_features_alone():
    sae = make_sae("relu", d=16, F=31)
    x = sparse_frames(400, 3).float()
    found = nested_fvu(sae, x, (8, 31))
    f = sae.encode(x)
    f[:, 8:] = 0
    expected = float((sae.decode(f) - x).square().sum() / (x - x.mean(0)).square().sum())
    assert found[8] == pytest.approx(expected, rel=1e-4)
    assert found[31] == pytest.approx(measure(sae, x).fvu_near, rel=1e-5)
