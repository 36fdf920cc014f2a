"""Retrieval by planted names, and what names chosen on the same clips make of noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import identity_sae, one_frame_clips

from audiosae_steer.analyse import Retrieval, RetrievalSettings, read_names, retrieval
from audiosae_steer.analyse.feature_retrieval.retrieving import average_precision
from audiosae_steer.errors import SteeringError

QUICK = RetrievalSettings(min_clips=1, draws=200, permutations=100, controls=())
SOUNDS = ("bell", "dog", "rain", "siren")


def sounds(rng, clips=160, features=60, by=2.0):
    """Codes (clips, features) of which feature 3 i is higher in clips of sound i."""
    labels = [SOUNDS[i % 4] for i in range(clips)]
    codes = np.abs(rng.standard_normal((clips, features)))
    for i, name in enumerate(SOUNDS):
        codes[:, 3 * i] += by * (np.array(labels) == name)
    return one_frame_clips(codes, labels, [f"recording {i // 8}" for i in range(clips)])


@pytest.mark.parametrize("seed", range(3))
def test_names_are_found_on_one_part_and_hold_on_the_other(seed):
    clips = sounds(np.random.default_rng(seed))
    found = retrieval(identity_sae(60), clips, settings=replace(QUICK, controls=("random",)))
    assert {row.feature: row.name for row in found.names} == {3 * i: name for i, name in enumerate(SOUNDS)}
    assert found.clips == 80
    assert found.base == pytest.approx(0.25, abs=0.02)
    assert found.mean.value > 0.75
    assert found.mean.interval.low > 0.6
    assert found.mean.null.high < found.mean.value
    assert found.mean.p < 0.1
    (random,) = found.controls
    assert random.mean < found.mean.value - 0.2
    assert random.interval.low < random.mean < random.interval.high
    assert 0 < random.lead.low < found.mean.value - random.mean < random.lead.high
    shown = found.table()
    assert f"| SAE | {found.mean.value:.3f} |" in shown
    assert f"| random | {random.mean:.3f} |" in shown
    assert f"| labels permuted |  | {found.mean.null} |" in shown
    assert found.of(0).precision_10 > 0.7
    assert Retrieval.from_json(found.to_json()).to_json() == found.to_json()


@pytest.mark.parametrize("seed", range(3))
def test_names_of_noise_do_not_hold(seed):
    clips = sounds(np.random.default_rng(seed), clips=64, features=400, by=0)
    found = retrieval(identity_sae(400), clips, settings=QUICK)
    assert found.mean.value < 0.45
    assert found.mean.null.low < found.mean.value < found.mean.null.high + 0.1
    # the toy scores names on the clips that they were chosen on
    codes = np.stack([x[0].numpy() for x in clips])
    labels = np.array(clips.labels)
    best = [max(average_precision(codes[:, i], labels == name) for i in range(400)) for name in SOUNDS]
    assert np.mean(best) > 0.45 > found.mean.value


def test_given_names_files_and_ties(tmp_path):
    clips = sounds(np.random.default_rng(0))
    table = tmp_path / "names.csv"
    table.write_text("feature,name\n0,Bell\n3, dog\n7,rain\n", encoding="utf-8")
    found = retrieval(identity_sae(60), clips, read_names(table), settings=QUICK)
    assert [(row.feature, row.name) for row in found.names] == [(0, "bell"), (3, "dog"), (7, "rain")]
    assert found.clips == 160
    assert not found.found_here
    assert found.of(3).average_precision > 0.8 > 0.4 > found.of(7).average_precision
    assert "flatter" in found.provenance.warnings[0]
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, flags = rng.integers(5, size=50) / 5, rng.random(50) < 0.3
    weights = rng.integers(3, size=(4, 50)).astype(float)
    assert average_precision(scores, flags) == pytest.approx(metrics.average_precision_score(flags, scores))
    expected = [metrics.average_precision_score(flags, scores, sample_weight=each) for each in weights]
    assert average_precision(scores, flags, weights) == pytest.approx(expected)
    with pytest.raises(SteeringError, match="'cat' is no label"):
        retrieval(identity_sae(60), clips, {0: "cat"})
    with pytest.raises(SteeringError, match="there is no feature 60"):
        retrieval(identity_sae(60), clips, {60: "dog"})
    table.write_text("feature\n0\n", encoding="utf-8")
    with pytest.raises(SteeringError, match="no CSV of names"):
        read_names(table)
