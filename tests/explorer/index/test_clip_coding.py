"""Coding of one clip: activations as the SAE gives them, exact counts, and near misses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiosae_steer import SAE
from audiosae_steer.explorer.index.clip_coding import (
    FIXED,
    Coding,
    Tally,
    code,
    dense,
    firing_rows,
    near_rows,
    peaks_of,
)
from audiosae_steer.explorer.index.index_schema import BINS, bin_of
from audiosae_steer.sae.given import Gate

GATES = {
    "relu": {"gate": "relu"},
    "jumprelu": {"gate": "jumprelu", "threshold": torch.linspace(0.2, 2.0, 24)},
    "topk": {"gate": Gate("topk", k=3)},
    "batchtopk": {"gate": Gate("batchtopk", k=3)},
    "batchtopk with a threshold": {"gate": Gate("batchtopk", k=3), "threshold": 1.1},
    "rms": {"gate": Gate("rms", epsilon=1e-6), "gain": 1.0},
}


def made(name: str, frames: int = 40) -> tuple[SAE, torch.Tensor, Coding]:
    rng = torch.Generator().manual_seed(3)
    bias = torch.linspace(-0.8, -9, 24)  # so that some never fire
    rows, columns = torch.randn(24, 8, generator=rng), torch.randn(24, 8, generator=rng)
    sae = SAE(rows, bias, columns, torch.zeros(8), **GATES[name])
    x = torch.randn(frames, 8, generator=rng)
    return sae, x, code(x, sae.weights(torch.float32))


@pytest.mark.parametrize("name", GATES)
def test_activations_are_the_saes(name: str) -> None:
    sae, x, coding = made(name)
    f = np.zeros((24, 40), np.float32)
    f[coding.feature, coding.frame] = coding.value
    np.testing.assert_allclose(f.T, sae.encode(x).numpy(), rtol=1e-6)
    assert (coding.value > 0).all()


@pytest.mark.parametrize("name", GATES)
def test_counts_are_those_of_the_activations(name: str) -> None:
    sae, x, coding = made(name)
    f = sae.encode(x).numpy().T
    tally = Tally.of(coding, 24)
    assert tally.fired.tolist() == (f > 0).sum(1).tolist()
    assert tally.clips.tolist() == (f > 0).any(1).astype(int).tolist()
    np.testing.assert_allclose(tally.total / FIXED, f.sum(1), atol=40 / FIXED)
    assert tally.counts.shape == (24, BINS)
    for feature in range(24):
        own = f[feature][f[feature] > 0]
        assert tally.counts[feature].tolist() == np.bincount(bin_of(own), minlength=BINS).tolist()


@pytest.mark.parametrize("name", GATES)
def test_near_misses_never_fire_and_lack_what_is_said(name: str) -> None:
    sae, x, coding = made(name)
    f = sae.encode(x).numpy()
    assert np.isneginf(coding.margin[(f > 0).any(0)]).all()
    rows = near_rows(coding, 7, np.full(24, -np.inf, np.float32))
    silent = np.flatnonzero(~(f > 0).any(0))
    assert rows.feature.tolist() == silent.tolist()
    assert (rows.value <= 0).all()
    if sae.threshold is not None:
        w = sae.weights(torch.float32)
        lacks = (x @ w.W_enc.T + w.b_enc).numpy().max(0) - np.broadcast_to(w.threshold.numpy(), 24)
        np.testing.assert_allclose(rows.value, lacks[silent], atol=1e-5)


def test_curves_come_back() -> None:
    sae, x, coding = made("jumprelu")
    f = sae.encode(x).numpy().T
    rows = firing_rows(coding, 5)
    for feature, scale, at, curve in zip(rows.feature, rows.scale, rows.at, rows.curve, strict=True):
        own = dense(curve, 40) * (scale / 255)
        np.testing.assert_allclose(own, f[feature], atol=scale / 255)
        assert f[feature].argmax() == at
        assert own[at] == pytest.approx(f[feature].max())
    assert (rows.clip == 5).all()


def test_only_what_may_be_nearest_is_kept() -> None:
    _, _, coding = made("jumprelu")
    worst = np.full(24, -3, np.float32)
    rows = near_rows(coding, 7, worst)
    assert 0 < len(rows.feature) < np.isfinite(coding.margin).sum()
    assert (rows.value >= -3).all()


def test_a_clip_on_which_nothing_fires() -> None:
    sae, x, _ = made("jumprelu")
    coding = code(x * 0 - 9, SAE(sae.W_enc, sae.b_enc - 1e4, sae.W_dec, sae.b_dec, gate="relu").weights(torch.float32))
    assert not len(firing_rows(coding, 1).feature)
    assert not len(peaks_of(coding)[0].features)
    assert Tally.of(coding, 24).fired.sum() == 0


def test_peaks_that_float16_cannot_hold_are_not_silent() -> None:
    coding = Coding(
        2, np.array([0, 1], np.int32), np.array([0, 1], np.int32), np.array([1e-9, 1e6], np.float32),
        np.zeros(3, np.float32), np.zeros(3, np.int32), np.zeros((3, 2), np.float32),
    )  # fmt: skip
    peaks = peaks_of(coding)[0]
    assert peaks.features.tolist() == [0, 1]
    assert (peaks.values > 0).all()
    assert np.isfinite(peaks.values).all()
