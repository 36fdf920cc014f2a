"""Fitting and placing a clip gate, on features whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from audiosae_steer.discover.gates.probe import assess, fit_frame_gate, fit_gate, score, set_threshold
from audiosae_steer.errors import GateError

TELLING = (3, 17)


def pooled(count: int, present: bool, seed: int, features: int = 40) -> np.ndarray:
    """Random features, two of which are higher where there is speech."""
    rng = np.random.default_rng(seed)
    found = rng.random((count, features))
    if present:
        found[:, list(TELLING)] += 2.0
    return found


@pytest.fixture(scope="module")
def gate():
    fitted, _ = fit_gate(pooled(60, False, 0), pooled(50, True, 1), "max", max_features=5)
    return fitted


def test_it_finds_what_tells_them_apart(gate):
    assert set(gate.features) & set(TELLING)
    assert len(gate.features) <= 5
    assert gate.pool == "max"
    found = assess(gate, pooled(40, False, 2), pooled(40, True, 3))
    assert found.auc == 1.0
    assert found.clips == (40, 40)


def test_a_placed_threshold_lies_above_all_speech(gate):
    absent, present = pooled(40, False, 4), pooled(40, True, 5)
    placed = set_threshold(gate, absent, present)
    assert score(placed, present).max() < placed.threshold < np.median(score(placed, absent))
    assert placed.calibration["open_present"] == 0.0
    assert placed.calibration["open_absent"] == pytest.approx(float((score(placed, absent) > placed.threshold).mean()))
    nearer = set_threshold(gate, absent, present, margin=0.1)
    assert nearer.threshold < placed.threshold


def test_without_a_gap_the_threshold_still_spares_speech(gate):
    mixed = np.concatenate([pooled(10, False, 6), pooled(10, True, 7)])
    placed = set_threshold(gate, pooled(20, True, 8), mixed)
    assert (score(placed, mixed) <= placed.threshold).all()


def test_deterministic():
    one, two = (fit_gate(pooled(30, False, 0), pooled(30, True, 1), "mean", max_features=8)[0] for _ in range(2))
    assert one == two


def test_intervals_hold_the_shares(gate):
    found = assess(gate, pooled(40, False, 2), pooled(40, True, 3))
    assert found.open_present_95[0] == 0.0 == found.open_present
    assert found.open_present_95[1] == pytest.approx(0.0876, abs=1e-4)  # Wilson's, of 0 in 40
    placed = set_threshold(gate, pooled(40, False, 4), pooled(40, True, 5), margin=1.0)  # opens for half of them
    found = assess(placed, pooled(40, False, 4), pooled(40, True, 3))
    assert 0.0 < found.open_absent_95[0] < found.open_absent < found.open_absent_95[1]
    assert json.loads(json.dumps(placed.calibration)) == placed.calibration
    assert placed.calibration["open_present_95"] == [0.0, 0.08762]


def test_a_frame_gate_keeps_to_its_budget_of_speech():
    fitted, weights = fit_frame_gate(pooled(80, False, 0), pooled(80, True, 1), 0.3, max_features=5)
    assert fitted.reach == 0.3
    assert set(fitted.features) == set(np.flatnonzero(weights))
    assert set(fitted.features) & set(TELLING)
    absent = pooled(200, False, 2)
    present = np.concatenate([pooled(195, True, 3), pooled(5, False, 4)])  # a few frames like non-speech
    for budget, most in ((0.0, 0), (0.01, 2), (0.05, 10)):
        placed = set_threshold(fitted, absent, present, margin=0.0, budget=budget)
        assert (score(placed, present) > placed.threshold).sum() <= most
        assert placed.calibration["open_present"] <= budget
        assert placed.reach == 0.3
    strict = set_threshold(fitted, absent, present, budget=0.0)
    loose = set_threshold(fitted, absent, present, budget=0.03)
    assert loose.threshold < strict.threshold
    assert assess(loose, absent, present).open_absent > assess(strict, absent, present).open_absent


@pytest.mark.parametrize("arguments", [{"budget": 1.0}, {"budget": -0.1}, {"margin": 2.0}, {"margin": float("nan")}])
def test_shares_that_are_none_are_refused(gate, arguments):
    with pytest.raises(GateError, match="from 0 to 1"):
        set_threshold(gate, pooled(9, False, 0), pooled(9, True, 1), **arguments)
    with pytest.raises(GateError, match="both"):
        set_threshold(gate, pooled(9, False, 0), pooled(0, True, 1))


@pytest.mark.parametrize(
    ("absent", "present", "message"),
    [
        (pooled(1, False, 0), pooled(9, True, 1), "both kinds"),
        (np.full((5, 40), np.nan), pooled(9, True, 1), "NaN"),
        (np.zeros((5, 40)), np.zeros((5, 40)), "tells"),
    ],
)
def test_what_cannot_be_fitted_says_why(absent, present, message):
    with pytest.raises(GateError, match=message):
        fit_gate(absent, present, "max")
    with pytest.raises(GateError, match=message):
        fit_frame_gate(absent, present)
