"""Shares and reductions: published intervals, the equations they solve, and how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audiosae_steer import SteeringError
from audiosae_steer.evaluate.metrics.rates import reduction, share, wrote

flag_lists = st.lists(st.booleans(), min_size=1, max_size=40)
pair_lists = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def flags(hits: int, total: int) -> list[bool]:
    return [True] * hits + [False] * (total - hits)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", False), (" \n\t", False), ("\u3000", False), (".", True), (" you ", True), ("♪", True), ("0", True)],
)
def test_any_mark_counts_as_text(text, expected):
    assert wrote(text) is expected


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [  # Newcombe, Statistics in Medicine 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_wilson_intervals(hits, total, low, high):
    found = share(flags(hits, total))
    assert (found.hits, found.clips, found.value) == (hits, total, hits / total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(flag_lists)
def test_an_interval_holds_its_share_and_mirrors(found):
    yes, no = share(found), share([not flag for flag in found])
    assert 0 <= yes.low <= yes.value <= yes.high <= 1
    assert 0 < yes.high - yes.low < 1
    assert (1 - no.high, 1 - no.low) == pytest.approx((yes.low, yes.high))
    for end in {yes.low, yes.high} - {0.0, 1.0}:  # Wilson's ends are the shares from which the data are 1.96 away
        assert (yes.value - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / yes.clips, rel=1e-6)


def test_of_no_clips_anything_can_be():
    found = share([])
    assert (found.low, found.high) == (0.0, 1.0)
    assert math.isnan(found.value)
    assert str(found) == "no clips"
    assert str(share(flags(1, 4))) == "25.0% [4.6%, 69.9%]"


def test_a_clean_sweep_has_an_open_side_only():
    found = reduction(flags(20, 20), flags(0, 20))
    assert (found.value, found.high, found.new) == (1.0, 1.0, 0)
    # by hand: 1 − u·√(l(2 − l))⁻¹ with the Wilson ends u = 0.1611 of 0/20 and l = 0.8389 of 20/20
    assert found.low == pytest.approx(1 - 0.16113 / math.sqrt(0.83887 * (2 - 0.83887)), abs=1e-4)
    assert str(found) == f"100.0% rarer [{found.low:.1%}, 100.0%]"


def test_what_never_happened_cannot_become_rarer():
    nothing = reduction(flags(0, 5), flags(0, 5))
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)
    assert str(nothing) == "no change to measure"
    worse = reduction(flags(0, 5), flags(2, 5))
    assert math.isnan(worse.value)
    assert worse.new == 2
    assert str(worse) == "2 where there was none"
    assert str(reduction([], [])) == "no change to measure"


def test_what_became_more_frequent_is_negative_and_counted():
    found = reduction(flags(2, 10), [False] * 5 + [True] * 4 + [False])
    assert found.value == -1.0
    assert found.new == 4
    assert found.low < -1.0 < found.high


def test_other_clips_are_refused():
    with pytest.raises(SteeringError, match="2 flags before and 3 after"):
        reduction([True, False], [True, False, True])


def phi(before: list[bool], after: list[bool]) -> float:
    """The flags' correlation."""
    if len(set(before)) == 1 or len(set(after)) == 1:
        return 0.0
    return float(np.corrcoef(before, after)[0, 1])


@given(pair_lists)
@example([(False, False), (False, False), (True, True), (True, True)])
def test_the_ends_solve_the_equations_of_mover(pairs):
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    found = reduction(before, after)
    if not any(before):
        assert math.isnan(found.value)
        return
    assert found.low <= found.value <= found.high <= 1
    assert found.new == sum(b > a for a, b in pairs)
    p, q, r = found.after, found.before, phi(before, after)

    def touches(R: float, p_end: float, q_end: float) -> float:
        """The square of the interval's half width, less that of its middle; MOVER for a difference p − R·q."""
        a, b = p.value - p_end, R * (q.value - q_end)
        return a * a + b * b + 2 * r * a * b - (p.value - R * q.value) ** 2

    least, most = 1 - found.high, 1 - found.low
    assert touches(most, p.high, q.low) == pytest.approx(0, abs=1e-8 * max(1.0, most) ** 2)
    if p.hits:
        assert touches(least, p.low, q.high) == pytest.approx(0, abs=1e-8)
    else:
        assert least == 0


def test_the_interval_covers_the_truth_about_95_times_in_100():
    g = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        before = g.random(60) < 0.8
        after = before & (g.random(60) < 0.25) | (g.random(60) < 0.02)
        truth = 1 - (0.8 * 0.25 * 0.98 + 0.02) / 0.8
        found = reduction(before.tolist(), after.tolist())
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 600 <= 0.99
