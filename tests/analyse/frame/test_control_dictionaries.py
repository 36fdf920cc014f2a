"""Controls keep what they have to keep, and lose the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiosae_steer import SAE, Gate, Normalisation
from audiosae_steer.analyse import Residuals, control, patterns_of
from audiosae_steer.errors import SiteError, SteeringError

WIDTH, FEATURES = 16, 40


def planted(seed, **parts):
    """An SAE whose features fire with very different frequency, and clips."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randn(FEATURES, WIDTH, generator=rng)
    bias = torch.linspace(-12, 4, FEATURES)
    sae = SAE(rows, bias, 2 * rows, torch.randn(WIDTH, generator=rng), gate="relu", **parts)
    clips = [torch.randn(200, WIDTH, generator=rng) @ torch.diag(torch.linspace(0.5, 2, WIDTH)) for _ in range(5)]
    return sae, Residuals.of(clips)


@pytest.mark.parametrize("kind", ["random", "permuted"])
@pytest.mark.parametrize("norm", [None, Normalisation("unit_norm", 4.0), Normalisation("scalar", 0.7)])
@pytest.mark.parametrize("seed", range(3))
def test_each_feature_fires_as_often_and_its_row_has_the_same_norm(kind, norm, seed):
    sae, residuals = planted(seed, normalisation=norm)
    made = control(kind, sae, residuals, seed=seed)
    ours, theirs = (patterns_of(residuals, each).seen().frames for each in (sae, made))
    assert np.abs(ours - theirs).max() <= 1
    assert len(set(ours.tolist())) > 10
    assert torch.allclose(made.W_enc.norm(dim=1), sae.W_enc.norm(dim=1), rtol=1e-5)
    assert torch.allclose(made.W_dec.norm(dim=1), sae.W_dec.norm(dim=1), rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(made.W_enc, sae.W_enc).abs()
    assert cosine.mean() < 0.5
    f = made.encode(residuals.read(0))
    assert (f >= 0).all()


@pytest.mark.parametrize("kind", ["random", "permuted"])
def test_of_an_rms_sae_features_fire_as_often_and_lose_the_size_of_a_frame_too(kind):
    sae, residuals = planted(0)
    sae = sae.altered(gate=Gate("rms", epsilon=1e-6), gain=torch.rand(FEATURES) + 0.5)
    made = control(kind, sae, residuals)
    ours, theirs = (patterns_of(residuals, each).seen().frames for each in (sae, made))
    assert np.abs(ours - theirs).max() <= 1
    assert (made.gate, made.info["control"]) == (sae.gate, kind)
    assert torch.equal(made.gain, sae.gain)
    f = made.encode(residuals.read(0)) / made.gain
    size = f.square().mean(1)
    assert torch.allclose(size[size > 0], torch.ones(()), atol=1e-3)  # of every frame on which anything fires


def test_permuted_rows_hold_the_same_numbers():
    sae, residuals = planted(0)
    made = control("permuted", sae, residuals)
    assert torch.equal(made.W_enc.sort(1).values, sae.W_enc.sort(1).values)


def test_dense_is_the_residual_and_fires_as_often_as_features_on_average():
    sae, residuals = planted(0)
    dense = control("dense", sae, residuals)
    x = residuals.read(0)
    assert torch.equal(dense.encode(x), x)
    mean = patterns_of(residuals, sae).seen().frames.mean()
    assert np.allclose(patterns_of(residuals, dense).seen().frames, mean, atol=1.5)


def test_the_seed_decides():
    sae, residuals = planted(0)
    one, two, three = (control("random", sae, residuals, seed=seed).digest() for seed in (1, 1, 2))
    assert one == two != three


def test_a_control_that_there_is_not():
    sae, residuals = planted(0)
    with pytest.raises(SteeringError, match="'sparse' is unknown; expected one of dense, random, permuted"):
        control("sparse", sae, residuals)
    with pytest.raises(SiteError):
        control("random", sae, Residuals.of([torch.zeros(5, 3)]))
