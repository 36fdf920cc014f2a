"""Stability on planted patterns, and what a naive measure makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import bursts, cut, log_uniform

from audiosae_steer import SAE
from audiosae_steer.analyse import Coverage, Patterns, Residuals, StabilitySettings, compare_patterns, stability
from audiosae_steer.errors import SiteError, SteeringError

CLIPS, FRAMES = 12, 2400
QUICK = StabilitySettings(shifts=3, draws=50)
SEEDS = range(5)


def share_alone(a, b, theta=0.5):
    """The naive measure: covered features over all features, without support, null or mask."""
    a, b = np.concatenate(a).astype(float), np.concatenate(b).astype(float)
    both = a.T @ b
    either = a.sum(0)[:, None] + b.sum(0) - both
    return float((both / np.maximum(either, 1) > theta).any(1).mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_permutation_is_recovered(seed):
    rng = np.random.default_rng(seed)
    a = bursts(rng, FRAMES, log_uniform(rng, 300, low=0.03))
    order = rng.permutation(300)
    found = compare_patterns(Patterns.of(cut(a, CLIPS)), Patterns.of(cut(a[:, order], CLIPS)), settings=QUICK)
    assert found.share == 1.0
    assert found.one_to_one == 1.0
    assert found.held_out.share == 1.0
    assert found.held_out.null_share < 0.02
    assert found.null_share < 0.02
    assert found.p == pytest.approx(1 / 4)
    partners = np.array([-1 if each is None else each for each in found.partners])
    seen = np.array([each is not None for each in found.chi])
    assert seen.sum() == found.seen > 290
    assert np.array_equal(order[partners[seen]], np.flatnonzero(seen))
    assert np.array_equal(np.array(found.assigned)[seen], partners[seen])
    assert found.interval == (1.0, 1.0)


def test_matching_by_number_does_not_recover_it():
    """The toy compares feature 7 with feature 7."""
    rng = np.random.default_rng(0)
    a = bursts(rng, FRAMES, log_uniform(rng, 300, low=0.03))
    b = a[:, rng.permutation(300)]
    both, either = (a & b).sum(0), (a | b).sum(0)
    assert (both / either > 0.5).mean() < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_shared_and_fresh_features(seed):
    rng = np.random.default_rng(seed)
    densities = log_uniform(rng, 300, low=0.05)
    a = bursts(rng, FRAMES, densities)
    b = np.concatenate([a[:, :200], bursts(rng, FRAMES, log_uniform(rng, 100, low=0.05))], axis=1)
    found = compare_patterns(Patterns.of(cut(a, CLIPS)), Patterns.of(cut(b, CLIPS)), settings=QUICK)
    assert (found.covered, found.back.covered) == (200, 200)
    assert (found.side.features, found.seen) == (300, 300)
    silent = np.zeros((FRAMES, 50), bool)
    wider = compare_patterns(
        *(Patterns.of(cut(np.concatenate([each, silent], axis=1), CLIPS)) for each in (a, b)), settings=QUICK
    )
    assert (wider.share, wider.null_share, wider.interval) == (found.share, found.null_share, found.interval)
    assert wider.back.share == found.back.share
    assert wider.side.features - wider.seen == 50
    # the toy has features that never fire in its denominator
    padded = [cut(np.concatenate([each, silent], axis=1), CLIPS) for each in (a, b)]
    assert share_alone(cut(a, CLIPS), cut(b, CLIPS)) == pytest.approx(found.share)
    assert share_alone(*padded) < found.share - 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_dense_features_match_by_chance_and_the_excess_says_so(seed):
    rng = np.random.default_rng(seed)
    a, b = (bursts(rng, FRAMES, np.concatenate([np.full(30, 0.8), log_uniform(rng, 100)]), length=2) for _ in range(2))
    found = compare_patterns(Patterns.of(cut(a, CLIPS)), Patterns.of(cut(b, CLIPS)), settings=QUICK)
    assert found.covered >= 30
    assert abs(found.excess) <= 0.02
    assert found.p > 0.1
    assert found.by_density[-1].covered == 30
    assert found.by_density[-1].null_share == pytest.approx(1, abs=0.1)
    # the toy reports the share alone, as a finding
    assert share_alone(cut(a, CLIPS), cut(b, CLIPS)) > 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_rare_features_match_by_chance_where_no_support_is_asked_for(seed):
    rng = np.random.default_rng(seed)
    densities = np.concatenate([np.full(600, 4e-4), np.full(20, 0.1)])
    a, b = (bursts(rng, FRAMES, densities, length=1) for _ in range(2))
    given = Patterns.of(cut(a, CLIPS)), Patterns.of(cut(b, CLIPS))
    found = compare_patterns(*given, settings=QUICK)
    assert (found.side.features, found.seen, found.covered) == (620, 20, 0)
    # the toy takes one frame for support
    naive = compare_patterns(*given, settings=replace(QUICK, min_frames=1, min_clips=1))
    assert naive.covered >= 3
    assert naive.held_out.covered == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_are_duplicates_and_one_to_one_takes_one_of_them(seed):
    rng = np.random.default_rng(seed)
    b = bursts(rng, FRAMES, log_uniform(rng, 60, low=0.05))
    a = np.concatenate([b, b[:, [7]], b[:, [7]]], axis=1)
    found = compare_patterns(Patterns.of(cut(a, CLIPS)), Patterns.of(cut(b, CLIPS)), settings=QUICK)
    assert found.duplicates == 3
    assert found.back.duplicates == 0
    assert found.side.null_duplicates < 1
    assert found.covered == 62
    assert found.one_to_one == pytest.approx(60 / 62)
    assert sum(found.assigned[i] == 7 for i in (7, 60, 61)) == 1
    # the toy takes each one's best partner, and so counts one concept three times
    assert sum(found.partners[i] == 7 for i in (7, 60, 61)) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_frames_and_padding_change_nothing(seed):
    rng = np.random.default_rng(seed)
    a = bursts(rng, FRAMES, log_uniform(rng, 80))
    b = np.where(rng.random(a.shape) < 0.2, bursts(rng, FRAMES, log_uniform(rng, 80)), a)
    found = compare_patterns(Patterns.of(cut(a, CLIPS)), Patterns.of(cut(b, CLIPS)), settings=QUICK)
    assert 0 < found.share < 1 or found.covered
    order = rng.permutation(FRAMES // CLIPS)
    mixed = [Patterns.of([clip[order] for clip in cut(each, CLIPS)]) for each in (a, b)]
    other = compare_patterns(*mixed, settings=QUICK)
    assert (other.share, other.chi, other.partners, other.interval) == (
        found.share,
        found.chi,
        found.partners,
        found.interval,
    )
    # padding on which a feature of either is always on
    lengths = [FRAMES // CLIPS] * CLIPS
    padded = [[np.concatenate([clip, _always(600, 80, feature)]) for clip in cut(each, CLIPS)]
              for each, feature in ((a, 3), (b, 5))]  # fmt: skip
    masked = compare_patterns(*(Patterns.of(each, sound=lengths) for each in padded), settings=QUICK)
    assert masked.to_json() == found.to_json()
    # the toy counts padding: two features that have nothing in common are the same
    assert found.partners[3] != 5
    naive = compare_patterns(*(Patterns.of(each) for each in padded), settings=QUICK)
    assert naive.partners[3] == 5
    assert naive.chi[3] > 0.8


def _always(frames, features, which):
    pattern = np.zeros((frames, features), bool)
    pattern[:, which] = True
    return pattern


def test_another_frame_rate_is_brought_to_the_lower():
    rng = np.random.default_rng(0)
    low = bursts(rng, FRAMES // 2, log_uniform(rng, 40, low=0.05))
    high = np.zeros((FRAMES, 40), bool)
    for feature in range(40):
        fired = np.flatnonzero(low[:, feature])
        high[2 * fired + rng.integers(2, size=len(fired)), feature] = True
    a, b = Patterns.of(cut(high, CLIPS), rate=50.0), Patterns.of(cut(low, CLIPS), rate=25.0)
    found = compare_patterns(a, b, settings=QUICK)
    assert found.share == 1.0
    assert min(each for each in found.chi if each is not None) == 1.0
    assert any("25.0 frames/s" in warning for warning in found.provenance.warnings)


def test_a_frame_more_is_cut_and_reported():
    rng = np.random.default_rng(0)
    a = cut(bursts(rng, FRAMES, log_uniform(rng, 40)), CLIPS)
    found = compare_patterns(Patterns.of(a), Patterns.of([np.concatenate([c, c[-1:]]) for c in a]), settings=QUICK)
    assert found.share == 1.0
    assert found.offset == 1.0


def saes(rng, *, features=64, width=32):
    def one():
        rows = torch.from_numpy(rng.standard_normal((features, width))).float()
        rows = rows / rows.norm(dim=1, keepdim=True)
        return SAE(rows, torch.full((features,), -1.0), rows, torch.zeros(width), gate="relu")

    return one(), one()


def clips_of(rng, *, clips=8, frames=150, width=32):
    return Residuals.of([torch.from_numpy(rng.standard_normal((frames, width))).float() for _ in range(clips)])


def test_saes_their_decoders_and_controls():
    rng = np.random.default_rng(0)
    a, other = saes(rng)
    order = torch.from_numpy(rng.permutation(64))
    b = a.altered(W_enc=a.W_enc[order], W_dec=a.W_dec[order])
    residuals = clips_of(rng)
    found = stability(a, b, residuals, settings=QUICK)
    assert found.share == 1.0
    assert found.decoder.share == 1.0
    assert found.decoder.null_share < 0.2
    assert found.decoder.same_partner == 1.0
    assert [each.name for each in found.controls] == ["random", "permuted"]
    for each in found.controls:
        assert abs(each.side.excess) < 0.1
        assert each.side.seen == found.seen
    apart = stability(a, other, residuals, settings=QUICK)
    assert abs(apart.excess) < 0.1
    assert apart.provenance.saes[0].sha256 == a.digest()
    assert apart.provenance.sites[0].frames == 1200


def test_another_site_has_no_decoder_in_common():
    rng = np.random.default_rng(0)
    a, _ = saes(rng)
    residuals = clips_of(rng)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(1))).Q
    there = Residuals.of([x @ turn for x in residuals])
    b = a.altered(W_enc=a.W_enc @ turn, W_dec=a.W_dec @ turn)
    found = stability(a, b, residuals, there, settings=QUICK)
    assert found.share == 1.0
    assert found.decoder is None
    assert len(found.provenance.sites) == 2
    assert abs(found.controls[0].side.excess) < 0.1
    with pytest.raises(SteeringError, match="same clips"):
        stability(a, b, residuals, there.pick(range(7)), settings=QUICK)
    with pytest.raises(SiteError, match="width 32, but these are 16 wide"):
        stability(a, b, residuals, Residuals.of([x[:, :16] for x in residuals]), settings=QUICK)


def test_the_same_input_gives_the_same_json_which_reads_back():
    rng = np.random.default_rng(0)
    a, b = saes(rng)
    residuals = clips_of(rng)
    one, two = (stability(a, b, residuals, settings=QUICK).to_json() for _ in range(2))
    assert one == two
    read = Coverage.from_json(one)
    assert read.to_json() == one
    assert read.table() == stability(a, b, residuals, settings=QUICK).table()


def test_data_that_cannot_bear_it_is_refused():
    rng = np.random.default_rng(0)
    a = Patterns.of(cut(bursts(rng, 240, log_uniform(rng, 10)), 3))
    with pytest.raises(SteeringError, match="no feature of A fires on 50 frames and in 5 clips"):
        compare_patterns(a, a)
    with pytest.raises(SteeringError, match="same clips"):
        compare_patterns(a, Patterns.of(cut(bursts(rng, 240, [0.1]), 4)))
    with pytest.raises(SteeringError, match="not of the same sound"):
        compare_patterns(a, Patterns.of(cut(bursts(rng, 480, [0.1]), 3)))
