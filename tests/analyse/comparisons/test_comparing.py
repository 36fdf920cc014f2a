"""Comparisons of planted probes over sparsity, with and without groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import as_clips, coordinates, identity_sae, one_frame_clips

from audiosae_steer.analyse import Comparison, ProbeSettings, QualitySettings, compare, probe, quality, read_outcome
from audiosae_steer.errors import SteeringError
from audiosae_steer.sae.autoencoder import Gate

QUICK = ProbeSettings(
    ks=(1,), penalties=(0.1,), unpenalised=False, random_orders=0, controls=("dense",), min_frames=1, min_clips=1,
    draws=200, permutations=50,
)  # fmt: skip


def weak_carriers(rng, clips=600, features=40, carriers=10):
    """Codes in which each of ten features is a little higher in one class, and above all others."""
    kinds = np.arange(clips) % 2
    codes = np.abs(rng.standard_normal((clips, features)))
    codes[:, :carriers] = 6 + rng.standard_normal((clips, carriers)) + 0.8 * kinds[:, None]
    return codes, ["yes" if kind else "no" for kind in kinds]


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_falls_where_fewer_features_fire_than_carry_the_class(seed):
    codes, labels = weak_carriers(np.random.default_rng(seed))
    residuals = one_frame_clips(codes, labels, [f"speaker {i // 6}" for i in range(len(codes))])
    saes = {k: identity_sae(40).altered(gate=Gate("topk", k)) for k in (20, 10, 3)}
    found = compare({f"k {k}": probe(sae, residuals, settings=QUICK) for k, sae in saes.items()})
    score = {k: found.of(f"k {k}").headline.value for k in saes}
    dense = dict(found.of("k 20").headline.controls)["dense"]
    assert score[20] == pytest.approx(dense, abs=0.03)
    assert score[10] == pytest.approx(dense, abs=0.03)
    assert score[3] < score[10] - 0.1
    same, fall = ({(pair.first, pair.second): pair for pair in found.pairs}["k 20", f"k {k}"] for k in (10, 3))
    assert same.interval.low <= 0 <= same.interval.high
    assert same.adjusted > 0.05
    assert fall.interval.low > 0
    assert fall.adjusted < 0.001
    assert fall.only_first > fall.only_second
    assert not found.provenance.warnings
    # a toy that compares intervals, or standard errors, apart from each other sees less: these are wider
    apart = [found.of(name).headline.interval for name in ("k 20", "k 3")]
    assert fall.interval.high - fall.interval.low < sum(each.high - each.low for each in apart)


@pytest.mark.parametrize("seed", range(3))
def test_a_singer_is_no_technique(seed):
    """Features tell singers, each with one class: at chance by group, near certain without, which is warned of."""
    rng = np.random.default_rng(seed)
    singer = np.repeat(np.arange(24), 12)
    kinds = rng.permutation(np.repeat([0, 1], 12))[singer]
    codes = np.maximum(8 + 2 * rng.standard_normal((24, 30))[singer] + 0.3 * rng.standard_normal((288, 30)), 0.01)
    labels = ["yes" if kind else "no" for kind in kinds]
    sae, other = identity_sae(30), identity_sae(30).altered(gate=Gate("topk", 25))
    settings = replace(QUICK, controls=())
    grouped = one_frame_clips(codes, labels, [f"singer {each}" for each in singer])
    found = compare({"a": probe(sae, grouped, settings=settings), "b": probe(other, grouped, settings=settings)})
    assert found.of("a").headline.interval.low <= 0.5
    assert not any("group of its own" in warning for warning in found.provenance.warnings)
    # the toy has no groups
    naive = one_frame_clips(codes, labels)
    toy = compare({"a": probe(sae, naive, settings=settings), "b": probe(other, naive, settings=settings)})
    assert toy.of("a").headline.value > 0.95
    assert any("each held-out clip is a group of its own" in warning for warning in toy.provenance.warnings)


def test_unknown_groups_withhold_p_values():
    codes, labels = weak_carriers(np.random.default_rng(0), clips=120)
    result = probe(identity_sae(40), one_frame_clips(codes, labels), settings=replace(QUICK, controls=()))
    from audiosae_steer.analyse.frame.parts import UNGROUPED

    origin = replace(result.provenance, warnings=(UNGROUPED,))
    found = compare({"a": replace(result, provenance=origin), "b": replace(result, provenance=origin)})
    assert found.pairs[0].p is found.pairs[0].adjusted is None
    assert "withheld" in found.provenance.warnings[0]
    other = replace(result, told=result.told._replace(clips=tuple(reversed(result.told.clips))))
    apart = compare({"a": result, "b": other})
    assert apart.pairs == ()
    assert any("different clips" in warning for warning in apart.provenance.warnings)


def test_any_analysis_is_compared_read_and_shown(tmp_path):
    rng = np.random.default_rng(0)
    clips = as_clips([np.maximum(rng.standard_normal((40, 12)), 0) for _ in range(8)])
    settings = QualitySettings(orders=3, draws=20)
    good, poor = coordinates(12), coordinates(12).altered(W_dec=0.5 * coordinates(12).W_dec)
    results = {"good": quality(good, clips, settings=settings), "poor": quality(poor, clips, settings=settings)}
    found = compare(results)
    assert found.of("good").headline.value < 1e-6 < 0.1 < found.of("poor").headline.value
    assert dict(found.of("good").headline.controls).keys() == {"mean frame", "random"}
    assert "| good |" in found.table()
    again = read_outcome(found.to_json())
    assert isinstance(again, Comparison)
    assert again == Comparison.from_json(found.to_json())
    assert read_outcome(results["poor"].to_json()).fvu == results["poor"].fvu
    found.png(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    with pytest.raises(SteeringError, match="2 results of Quality, Comparison cannot be compared"):
        compare({"a": results["good"], "b": found})
    with pytest.raises(SteeringError, match="1 results"):
        compare({"a": found})
    with pytest.raises(SteeringError, match="no result of an analysis"):
        read_outcome("{}")
    with pytest.raises(SteeringError, match="no JSON"):
        read_outcome("[")
