"""Neighbours, labels and places: planted ones are found, and a naive lift without an interval takes noise for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiosae_steer import SAE
from audiosae_steer.explorer.index.index_findings import by_clips, by_cosine, enriched, places


def sae_of(rows: torch.Tensor) -> SAE:
    return SAE(torch.zeros_like(rows), torch.zeros(len(rows)), rows, torch.zeros(rows.shape[1]), gate="relu")


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_those_of_plain_arithmetic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(40, 6)).astype(np.float32)
    fired = rng.random((30, 40)) < 0.3
    found = by_cosine(sae_of(torch.from_numpy(rows)), 5)
    unit = rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = {"cosine": unit @ unit.T}
    both = fired.T.astype(int) @ fired
    either = fired.sum(0)[:, None] + fired.sum(0) - both
    scores["clips"] = np.where(both >= 2, both / np.maximum(either, 1), 0)
    for its, score in ((found, scores["cosine"]), (by_clips(fired, 5), scores["clips"])):
        np.fill_diagonal(score, 0)
        for feature in range(40):
            own = its.feature == feature
            best = np.sort(score[feature][score[feature] > 0])[::-1][:5]
            np.testing.assert_allclose(its.value[own], best, atol=2e-6)
            np.testing.assert_allclose(score[feature][its.other[own]], best, atol=2e-6)
            assert its.rank[own].tolist() == list(range(len(best)))


def test_ties_go_to_the_lower_number() -> None:
    fired = np.ones((6, 5), bool)
    found = by_clips(fired, 3)
    assert found.other[found.feature == 0].tolist() == [1, 2, 3]
    assert found.other[found.feature == 4].tolist() == [0, 1, 2]


def planted(seed: int) -> tuple[np.ndarray, list[str], list[str]]:
    """Feature 0 fires on two thirds of the coughs and a tenth of the rest; the other 99 by chance, by recording."""
    rng = np.random.default_rng(seed)
    labels = [("cough", "rain", "speech", "")[i // 4 % 4] for i in range(240)]
    groups = [f"recording {i // 4}" for i in range(240)]
    by_recording = rng.random((60, 100)) < 0.15
    fired = np.repeat(by_recording, 4, 0) & (rng.random((240, 100)) < 0.9)
    cough = np.array([label == "cough" for label in labels])
    fired[:, 0] = rng.random(240) < np.where(cough, 0.67, 0.1)
    return fired, labels, groups


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_label_is_found_with_its_lift(seed: int) -> None:
    fired, labels, groups = planted(seed)
    found = enriched(fired, labels, groups)
    best = next(row for row in found if row.feature == 0 and row.rank == 0)
    assert best.label == "cough"
    assert best.low > 1.5
    assert best.low < best.lift < best.high
    share = fired[np.array(labels) == "cough", 0].mean() / fired[:, 0].mean()
    assert best.lift == pytest.approx(share, abs=1e-5)
    # of features by chance, few have a lower bound above 1; by the lift alone most have some label
    assert sum(row.feature > 0 and row.low > 1 for row in found) <= 20
    assert len({row.feature for row in found if row.feature > 0}) > 60


def test_intervals_over_clips_would_be_too_narrow() -> None:
    """Clips of a recording are alike: drawn clip by clip, more features by chance seem to have a label."""
    counts = {"recordings": 0, "clips": 0}
    for seed in range(4):
        fired, labels, groups = planted(seed)
        for name, own in {"recordings": groups, "clips": [str(i) for i in range(len(labels))]}.items():
            counts[name] += sum(row.feature > 0 and row.low > 1 for row in enriched(fired, labels, own))
    assert counts["clips"] > 1.5 * counts["recordings"]


def test_without_labels_there_is_nothing() -> None:
    fired = np.ones((8, 3), bool)
    assert enriched(fired, [""] * 8, [str(i) for i in range(8)]) == []
    assert enriched(fired, ["a", "b"] * 4, ["one"] * 8) == []


def test_features_that_write_alike_lie_together_on_the_map() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(8)[:2] * 5
    rows = np.concatenate([centre + rng.normal(size=(30, 8)) * 0.3 for centre in centres]).astype(np.float32)
    alive = np.ones(60, bool)
    alive[7] = False
    at = places(sae_of(torch.from_numpy(rows)), alive)
    assert np.isnan(at[7]).all()
    assert np.nanmin(at) == 0
    assert np.nanmax(at) == 1
    one, other = np.delete(at[:30], 7, 0), at[30:]
    assert abs(one[:, 0].mean() - other[:, 0].mean()) > 5 * max(one[:, 0].std(), other[:, 0].std())
    np.testing.assert_array_equal(at, places(sae_of(torch.from_numpy(rows)), alive))
