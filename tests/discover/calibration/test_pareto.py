"""Fronts, halving and the budget, on made-up figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer import SteeringError
from audiosae_steer.discover.calibration.breaking_point import find_cliff
from audiosae_steer.discover.calibration.pareto import (
    Score,
    better_half,
    contenders,
    excess,
    front,
    layers,
    nearest,
    rounds,
    sure_excess,
    within,
)
from audiosae_steer.discover.calibration.settings import BreakCriterion, Budget

BUDGET = Budget(wer=0.1, blanked=0.005)


@st.composite
def score(draw: st.DrawFn) -> Score:
    # few values, so that ties are common
    text, wer, blanked = draw(st.sampled_from([0, 1, 2, 5, 8])) / 8, draw(st.integers(-2, 6)) / 20, 0.0
    if draw(st.booleans()):
        blanked = draw(st.sampled_from([0.005, 0.01, 0.2]))
    return Score(text, wer, blanked, wer - draw(st.sampled_from([0.0, 0.2])), blanked / draw(st.sampled_from([1, 4])))


scores = st.lists(score(), min_size=1, max_size=24)


def beats(a: Score, b: Score) -> bool:
    return a.text <= b.text and a.wer <= b.wer and (a.text, a.wer) != (b.text, b.wer)


@given(scores)
def test_no_point_on_the_front_is_beaten_and_every_other_is(found):
    best = front(found)
    assert not any(beats(other, found[i]) for i in best for other in found)
    for i in set(range(len(found))) - set(best):
        assert any(beats(found[j], found[i]) or found[j][:2] == found[i][:2] for j in best)
    assert [found[i].text for i in best] == sorted(found[i].text for i in best)


@given(scores)
def test_layers_are_fronts_of_what_is_left(found):
    ranks = layers(found)
    for i, rank in enumerate(ranks):
        beaten_by = [ranks[j] for j in range(len(found)) if beats(found[j], found[i])]
        assert rank == (max(beaten_by) + 1 if beaten_by else 0)


@given(scores, st.lists(st.sampled_from("ab"), min_size=24, max_size=24), st.integers(1, 4))
def test_halving_keeps_half_of_each_group_and_no_clear_breach_before_a_keeper(found, names, least):
    groups = names[: len(found)]
    kept = better_half(found, BUDGET, groups, least=least)
    assert kept == better_half(found, BUDGET, groups, least=least) == sorted(set(kept))
    for group in set(groups):
        own = [i for i, name in enumerate(groups) if name == group]
        inside = [i for i in kept if groups[i] == group]
        assert len(inside) == max((len(own) + 1) // 2, min(least, len(own)))
        worst = max(sure_excess(found[i], BUDGET) for i in inside)
        assert all(sure_excess(found[i], BUDGET) >= worst for i in own if i not in inside)


@given(scores, st.floats(0, 1), st.floats(0, 30))
def test_what_is_chosen_keeps_the_budget_and_is_as_good_as_the_best(found, unsteered, near):
    allowed = within(found, BUDGET, unsteered)
    good = contenders(found, allowed, near)
    assert bool(good) == bool(allowed)
    for i in good:
        assert found[i].wer <= BUDGET.wer + 1e-9
        assert found[i].blanked <= BUDGET.blanked + 1e-9
        assert found[i].text < unsteered
        assert found[i].text <= min(found[j].text for j in allowed) + near / 100 + 1e-6
    if good:
        assert not any(beats(found[j], found[good[0]]) for j in allowed)


@given(scores)
def test_the_nearest_is_the_least_over_the_budget(found):
    assert excess(found[nearest(found, BUDGET)], BUDGET) == min(excess(one, BUDGET) for one in found)


@pytest.mark.parametrize("over", [Score(0, 0.11, 0, 0, 0), Score(0, 0, 0.006, 0, 0)])
def test_a_little_over_the_budget_is_over(over):
    assert excess(over, BUDGET) > 0
    assert excess(Score(0, 0.1, 0.005, 0, 0), BUDGET) == 0
    assert sure_excess(over, BUDGET) == 0


def test_rounds_double_until_all_clips_are_seen():
    assert rounds(100, 40, 16) == [(16, 16), (32, 32), (64, 40), (100, 40)]
    assert rounds(5, 9, 16) == [(5, 9)]
    with pytest.raises(SteeringError, match="1 or more"):
        rounds(5, 9, 0)


@given(st.floats(0.1, 3), st.floats(0.05, 20))
def test_the_cliff_is_where_speech_breaks(start, edge):
    limit = BreakCriterion(wer=1.0, blanked=0.02)
    asked = []

    def speech(strength: float) -> tuple[float, float]:
        asked.append(strength)
        return (5.0, 0.0) if strength > edge else (0.5, 0.01)

    cliff = find_cliff(speech, start, limit)
    assert [rung.strength for rung in cliff.rungs] == sorted(asked)
    assert len(asked) <= 8
    if cliff.strength is None:
        assert cliff.highest == pytest.approx(4 * start, abs=1e-5)
        assert cliff.highest <= edge
        assert cliff.margin(start) == pytest.approx(4, rel=1e-3)
    else:
        assert cliff.strength > edge
        below = [rung.strength for rung in cliff.rungs if rung.strength < cliff.strength]
        assert all(strength <= edge for strength in below)
        # a neighbour below it does not break, unless the search ended first
        assert below or cliff.strength == pytest.approx(start / 4, rel=1e-3)
        assert (cliff.strength <= start) == (start > edge)


def test_blanked_clips_break_speech_too():
    assert find_cliff(lambda s: (0.0, 0.03 if s > 1.3 else 0.0), 1.0, BreakCriterion()).strength == pytest.approx(
        1.5625
    )
