"""Pooled codes and sparse patterns against dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import bursts, cut

from audiosae_steer import SAE
from audiosae_steer.analyse import Patterns, Residuals, patterns_of, pool_codes
from audiosae_steer.errors import SiteError, SteeringError


def sae_and_clips(gate="relu", lengths=(40, 7, 120)):
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(24, 8, generator=rng)
    sae = SAE(rows, torch.full((24,), -2.0), rows, torch.zeros(8), gate=gate)
    return sae, [torch.randn(n, 8, generator=rng) for n in lengths]


def test_pooled_codes_are_those_of_dense_arithmetic():
    sae, clips = sae_and_clips()
    codes = pool_codes(Residuals.of(clips), sae)
    for row, clip in enumerate(clips):
        f = sae.encode(clip).numpy()
        fired = (f > 0).sum(0)
        assert np.allclose(codes.max[row], f.max(0))
        assert np.allclose(codes.mean[row], f.mean(0), atol=1e-6)
        assert np.allclose(codes.nonzero_mean[row], f.sum(0) / np.maximum(fired, 1), atol=1e-6)
        assert np.array_equal(codes.fired[row], fired)
    assert codes.frames.tolist() == [40, 7, 120]
    assert codes.l0 == pytest.approx(codes.fired.sum() / 167)


def test_patterns_are_sparse_and_agree_with_pooled_codes():
    sae, clips = sae_and_clips()
    residuals = Residuals.of(clips, groups=["a", "a", "b"])
    patterns, codes = patterns_of(residuals, sae), pool_codes(residuals, sae)
    assert patterns.active.format == "csr"
    assert patterns.active.shape == (167, 24)
    assert np.array_equal(patterns.seen().frames, codes.seen().frames)
    assert np.array_equal(patterns.seen().clips, codes.seen().clips)
    assert patterns.l0 == pytest.approx(codes.l0)
    assert patterns.pick([2]).frames == 120
    assert patterns.pick([2]).groups == ("b",)


def test_padding_is_in_no_figure():
    sae, clips = sae_and_clips()
    loud = [torch.cat([clip, 100 * torch.ones(300, 8)]) for clip in clips]
    masked = Residuals.of(loud, sound=[len(clip) for clip in clips])
    clean, naive = Residuals.of(clips), Residuals.of(loud)
    for kind in ("max", "mean", "nonzero_mean", "fired"):
        assert np.array_equal(getattr(pool_codes(masked, sae), kind), getattr(pool_codes(clean, sae), kind))
        assert not np.array_equal(getattr(pool_codes(naive, sae), kind), getattr(pool_codes(clean, sae), kind))
    assert (patterns_of(masked, sae).active != patterns_of(clean, sae).active).nnz == 0
    assert masked.digest == clean.digest


def test_a_gate_that_selects_over_a_clip_sees_its_frames_of_sound_alone():
    from audiosae_steer import Gate

    sae, clips = sae_and_clips(gate=Gate("batchtopk", 3))
    codes = pool_codes(Residuals.of(clips), sae)
    assert codes.fired.sum(1).tolist() == [120, 21, 360]


def test_support():
    pattern = np.zeros((1000, 4), bool)
    pattern[:60, 0] = True  # frames enough, one clip
    pattern[::20, 1] = True
    pattern[::25, 2] = True  # 40 frames
    seen = Patterns.of(cut(pattern, 10)).seen()
    assert seen.frames.tolist() == [60, 50, 40, 0]
    assert seen.clips.tolist() == [1, 10, 10, 0]
    assert seen.mask().tolist() == [False, True, False, False]
    assert seen.mask(1, 1).tolist() == [True, True, True, False]


def test_shifting_keeps_density_and_clips():
    rng = np.random.default_rng(0)
    patterns = Patterns.of(cut(bursts(rng, 1200, [0.1, 0.5]), 6))
    shifted, short = patterns.shifted(rng)
    assert short == 0
    assert np.array_equal(shifted.seen().frames, patterns.seen().frames)
    assert np.array_equal(shifted.seen().clips, patterns.seen().clips)
    assert (shifted.active != patterns.active).nnz > 0


def test_a_lower_rate_fires_where_any_frame_does():
    pattern = np.zeros((10, 2), bool)
    pattern[3, 0] = pattern[9, 1] = True
    low = Patterns.of([pattern, pattern], rate=50.0).at_rate(20.0)
    assert np.diff(low.starts).tolist() == [4, 4]
    dense = low.active.toarray()
    assert np.flatnonzero(dense[:4, 0]).tolist() == [1]  # centre at 0.07 s
    assert np.flatnonzero(dense[:4, 1]).tolist() == [3]
    with pytest.raises(SteeringError, match="to a lower rate only"):
        low.at_rate(50.0)


def test_what_does_not_fit_is_refused():
    sae, _ = sae_and_clips()
    with pytest.raises(SiteError, match="width 8, but these are 9 wide"):
        pool_codes(Residuals.of([torch.zeros(5, 9)]), sae)
    with pytest.raises(SteeringError, match="all of one width"):
        Residuals.of([torch.zeros(5, 9), torch.zeros(5, 8)])
    with pytest.raises(SteeringError, match="one number of features"):
        Patterns.of([np.zeros((2, 3)), np.zeros((2, 4))])
