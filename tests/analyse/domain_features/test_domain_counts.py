"""Domains on planted features, and what a naive count makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import as_clips, bursts, coordinates, cut, exact

from audiosae_steer import SAE
from audiosae_steer.analyse import Domains, DomainSettings, Residuals, domains
from audiosae_steer.errors import SteeringError

QUICK = DomainSettings(permutations=20, draws=20, controls=())
SEEDS = range(5)
NAMES = ("music", "sounds", "speech")


def row(found, level, kind, bound):
    return next(each for each in found.compared if tuple(each.rule) == (level, kind, bound))


def three(rng, features, clips=10, frames=1000):
    """Clips of three domains, each of features that fire on so many of 1000 frames."""
    patterns = [clip for counts in zip(*features, strict=True) for clip in cut(exact(rng, frames, counts), clips)]
    return patterns, [name for name in NAMES for _ in range(clips)]


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_features_are_assigned_by_tau(seed):
    rng = np.random.default_rng(seed)
    equal = [(count,) * 3 for count in rng.integers(40, 400, 20)]
    planted = [(50, 50, 300)] * 20 + [(60, 20, 20)] * 20 + equal
    patterns, labels = three(rng, planted)
    found = domains(coordinates(60), as_clips(patterns, labels=labels), settings=QUICK)
    assert found.names == NAMES
    assert found.leading("speech", tau=0.2) == tuple(range(20))
    assert row(found, "frame", "difference", 0.2).features == (0, 0, 20)
    assert row(found, "frame", "difference", 0.04).features == (20, 0, 20)
    assert not {feature for name in NAMES for feature in found.leading(name, tau=0.04)} & set(range(40, 60))
    assert row(found, "frame", "difference", 0.2).null_total < 1
    assert found.frame_frequency[0] == pytest.approx((0.05, 0.05, 0.3))
    # a difference passes over what is rare, and the ratio does not
    assert row(found, "frame", "ratio", 4.0).features == (0, 0, 20)
    by_ratio = domains(
        coordinates(60), as_clips(patterns, labels=labels), settings=replace(QUICK, ratios=(2.5,), permutations=2)
    )
    assert row(by_ratio, "frame", "ratio", 2.5).features == (20, 0, 20)


def test_the_highest_frequency_alone_assigns_everything():
    """The toy has no τ, and features that fire alike everywhere are of the domain that chance gives them."""
    rng = np.random.default_rng(0)
    x = [rng.random((1000, 60)) < 0.1 for _ in NAMES]
    naive = np.stack([each.mean(0) for each in x])
    assert (naive.max(0) > np.sort(naive, 0)[-2]).sum() > 50
    patterns = [clip for each in x for clip in cut(each, 10)]
    found = domains(coordinates(60), as_clips(patterns, labels=np.repeat(NAMES, 10).tolist()), settings=QUICK)
    assert [row(found, "frame", "difference", tau).total for tau in (0.2, 0.1)] == [0, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_longer_clips_of_a_domain_change_nothing(seed):
    rng = np.random.default_rng(seed)
    densities = np.full(40, 0.015)
    labels = np.repeat(NAMES, 30).tolist()
    lengths = [400 if name == "music" else 100 for name in labels]
    patterns = [bursts(rng, frames, densities) for frames in lengths]
    found = domains(coordinates(40), as_clips(patterns, labels=labels), settings=QUICK)
    assert [domain.pieces for domain in found.domains] == [120, 30, 30]
    assert row(found, "clip", "difference", 0.3).total <= 2
    # the toy takes clips as they are, and calls features that fire alike everywhere music's
    music, *others = (
        np.mean([each.any(0) for each, of in zip(patterns, labels, strict=True) if of == name], axis=0)
        for name in NAMES
    )
    assert (music - np.max(others, axis=0) > 0.3).sum() > 10
    # clips that come twice over have the frequencies that they had
    once = [clip[:100] for clip in patterns]
    twice = [np.concatenate([c, c]) if of == "music" else c for c, of in zip(once, labels, strict=True)]
    one, two = (domains(coordinates(40), as_clips(each, labels=labels), settings=QUICK) for each in (once, twice))
    assert (one.frame_frequency, one.clip_frequency) == (two.frame_frequency, two.clip_frequency)


def of_recordings(rng, features=80, groups=18, each=6):
    """Features that fire in some recordings and not in others; their domains are drawn blindly."""
    names = rng.permutation(np.repeat(NAMES, groups // 3))
    patterns, labels, of = [], [], []
    for group in range(groups):
        rates = np.where(rng.random(features) < 0.5, 0.5, 0.02)
        for _ in range(each):
            patterns.append(rng.random((100, features)) < rates)
            labels.append(str(names[group]))
            of.append(f"recording {group}")
    return patterns, labels, of


@pytest.mark.parametrize("seed", SEEDS)
def test_blind_domains_assign_as_many_as_the_null(seed):
    rng = np.random.default_rng(seed)
    patterns, labels, groups = of_recordings(rng)
    settings = replace(QUICK, permutations=60)
    found = domains(coordinates(80), as_clips(patterns, labels=labels, groups=groups), settings=settings)
    seen = row(found, "frame", "difference", 0.1)
    assert abs(seen.total - seen.null_total) <= 3 * seen.null_spread
    assert seen.p > 0.01
    # the toy reports the number alone, as a finding
    assert seen.total > 5
    # another permutes clips, though those of one recording are alike
    naive = row(domains(coordinates(80), as_clips(patterns, labels=labels), settings=settings), *seen.rule)
    assert naive.total == seen.total
    assert naive.p < 0.05
    # nor do the assignments hold on other recordings
    other = next(each for each in found.confirmed if each.rule == seen.rule)
    assert other.assigned > 5
    assert other.confirmed < 0.5 * other.assigned
    assert other.null < 0.5 * other.assigned


@pytest.mark.parametrize("seed", SEEDS)
def test_features_of_one_corpus_do_not_survive_without_it(seed):
    rng = np.random.default_rng(seed)
    low = np.full(20, 0.02)
    one, other = low.copy(), low.copy()
    one[:10], one[10:], other[10:] = 0.6, 0.35, 0.35
    rates = [(low, "sounds", "street")] * 12 + [(one, "speech", "radio")] * 8 + [(other, "speech", "phone")] * 8
    patterns = [rng.random((100, 20)) < rate for rate, _, _ in rates]
    residuals = as_clips(patterns, labels=[name for _, name, _ in rates])
    found = domains(coordinates(20), residuals, sources=[source for _, _, source in rates], settings=QUICK)
    # the toy counts them all
    assert row(found, "frame", "difference", 0.2).features == (0, 20)
    kept = next(each for each in found.survivals if tuple(each.rule) == ("frame", "difference", 0.2))
    assert (kept.domain, kept.assigned, kept.survive) == ("speech", 20, 10)
    assert kept.kept == (("phone", 20), ("radio", 10))
    assert kept.null > 12
    assert {each.domain for each in found.survivals} == {"speech"}
    assert domains(coordinates(20), residuals, settings=QUICK).survivals == ()


def test_pairs_and_triples_have_features_that_all_domains_do_not():
    rng = np.random.default_rng(0)
    patterns, labels = three(rng, [(300, 300, 20)] * 10 + [(300, 20, 20)] * 5)
    found = domains(coordinates(15), as_clips(patterns, labels=labels), settings=QUICK)
    totals = {each.domains: each.total for each in found.assigned if each.rule.bound == 0.2}
    assert totals == {NAMES: 5, NAMES[:2]: 5, (NAMES[0], NAMES[2]): 15, NAMES[1:]: 10}
    other = next(each for each in found.confirmed if each.rule.bound == 0.2)
    assert (other.assigned, other.confirmed) == (5, 5)
    assert other.null < 2
    interval = row(found, "frame", "difference", 0.2).interval
    assert interval.low <= 5 <= interval.high


def test_padding_and_short_clips_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    patterns = [rng.random((200, 12)) < 0.1 for _ in range(24)]
    for clip in patterns[12:]:
        clip[100:] = False
        clip[100:, 3] = True  # a feature of silence, in the padding of one domain
    labels = ["speech"] * 12 + ["sounds"] * 12
    sound = [200] * 12 + [100] * 12
    found = domains(coordinates(12), as_clips(patterns, labels=labels, sound=sound), settings=QUICK)
    assert row(found, "frame", "difference", 0.2).total == 0
    # the toy counts padding
    naive = domains(coordinates(12), as_clips(patterns, labels=labels), settings=QUICK)
    assert 3 in naive.leading("sounds", tau=0.2)
    sound[12] = 99
    short = domains(coordinates(12), as_clips(patterns, labels=labels, sound=sound), settings=QUICK)
    assert [domain.left_out for domain in short.domains] == [1, 0]
    assert any("1 of sounds" in warning for warning in short.provenance.warnings)


def test_features_that_never_fire_and_rare_ones_are_in_no_number():
    rng = np.random.default_rng(0)
    patterns, labels = three(rng, [(0, 0, 0)] * 3 + [(0, 0, 6)] * 4 + [(20, 20, 300)] * 5)
    found = domains(coordinates(12), as_clips(patterns, labels=labels), settings=QUICK)
    assert (found.features, found.seen, found.dead) == (12, 5, 3)
    assert found.frame_frequency[:7] == (None,) * 7
    # the toy takes a ratio without support: six frames are six to none
    assert row(found, "frame", "ratio", 4.0).features == (0, 0, 5)
    naive = domains(
        coordinates(12), as_clips(patterns, labels=labels), settings=replace(QUICK, min_frames=1, min_clips=1)
    )
    assert row(naive, "frame", "ratio", 4.0).features == (0, 0, 9)


def test_an_sae_has_more_than_its_controls():
    rng = np.random.default_rng(0)
    rows = torch.linalg.qr(torch.from_numpy(rng.standard_normal((24, 24))).float()).Q
    low, high = np.full(24, 0.05), np.full(24, 0.05)
    low[:12], high[12:] = 0.5, 0.5
    fired = [rng.random((100, 24)) < rate for rate in [low] * 10 + [high] * 10]
    clips = [torch.from_numpy(each).float() @ rows + 0.05 * torch.from_numpy(rng.standard_normal((100, 24))).float()
             for each in fired]  # fmt: skip
    sae = SAE(rows, torch.full((24,), -0.5), rows, torch.zeros(24), gate="relu")
    residuals = Residuals.of(clips, labels=["music"] * 10 + ["speech"] * 10)
    settings = replace(QUICK, controls=("dense", "random", "permuted"))
    found = domains(sae, residuals, settings=settings)
    assert row(found, "frame", "difference", 0.2).features == (12, 12)
    assert [each.name for each in found.controls] == ["dense", "random", "permuted"]
    for each in found.controls:
        assert next(one for one in each.assigned if one.rule.bound == 0.2).total < 20
    one, two = (domains(sae, residuals, settings=settings).to_json() for _ in range(2))
    assert one == two
    assert Domains.from_json(one).to_json() == one
    assert Domains.from_json(one).table() == found.table()


def test_data_that_cannot_bear_it_is_refused():
    rng = np.random.default_rng(0)
    clips = [rng.random((100, 4)) < 0.3 for _ in range(8)]
    labels = ["music"] * 4 + ["speech"] * 4

    def run(labels=labels, sources=None, clips=clips, **changes):
        return domains(
            coordinates(4), as_clips(clips, labels=labels), sources=sources, settings=replace(QUICK, **changes)
        )

    with pytest.raises(SteeringError, match="there are 1 domains"):
        run(["music"] * 8)
    with pytest.raises(SteeringError, match="1 of 8 clips are without a domain"):
        run([None, *labels[1:]])
    with pytest.raises(SteeringError, match="no clip of the domain 'music' lasts 3 s, the longest 2"):
        run(seconds=3.0)
    with pytest.raises(SteeringError, match="no feature fires on 5000 frames"):
        run(min_frames=5000)
    with pytest.raises(SteeringError, match="8 clips and 2 sources"):
        run(sources=["a", "b"])
    with pytest.raises(SteeringError, match="frame_taus holds 1.5"):
        run(frame_taus=(1.5,))
    with pytest.raises(SteeringError, match="permutations 0"):
        run(permutations=0)
    alone = run(["music", *["speech"] * 7])
    assert alone.confirmed == ()
    assert alone.provenance.in_sample
    assert any("in one speaker or recording only" in warning for warning in alone.provenance.warnings)
