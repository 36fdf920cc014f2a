"""Parts that share no group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audiosae_steer.analyse import Excerpt, Excerpts, parts_of, split_parts
from audiosae_steer.errors import SteeringError


def excerpts(groups, labels=None, **more):
    labels = labels or [None] * len(groups)
    given = enumerate(zip(groups, labels, strict=True))
    items = [Excerpt(Path(f"{i}.wav"), 0.0, 1.0, label, group) for i, (group, label) in given]
    return Excerpts(tuple(items), **more)


@pytest.mark.parametrize("seed", range(20))
def test_no_group_is_in_both_parts_and_each_label_is(seed):
    rng = np.random.default_rng(seed)
    groups = [f"speaker {i}" for i in rng.integers(8, size=120)]
    labels = [str(i) for i in rng.integers(3, size=120)]
    parts = split_parts(groups, labels, seed=seed)
    sides = [{groups[i] for i in rows} for rows in (parts.find, parts.report)]
    assert not sides[0] & sides[1]
    assert sorted([*parts.find, *parts.report]) == list(range(120))
    assert {labels[i] for i in parts.find} == {labels[i] for i in parts.report} == {"0", "1", "2"}
    assert 0.25 < len(parts.find) / 120 < 0.75
    # the toy splits by frames or clips, and has each speaker on both sides
    naive = rng.permutation(120)
    assert {groups[i] for i in naive[:60]} & {groups[i] for i in naive[60:]}


def test_rare_labels_are_in_both_parts():
    groups = [f"g{i}" for i in range(40)]
    labels = ["rare" if i in (3, 31) else "common" for i in range(40)]
    for seed in range(20):
        parts = split_parts(groups, labels, seed=seed)
        assert len({3, 31} & set(parts.find.tolist())) == 1


def test_many_rare_labels_are_found_a_side_each():
    groups = [f"g{i}" for i in range(40)]
    labels = [str(i // 2) for i in range(40)]
    parts = split_parts(groups, labels)
    assert {labels[i] for i in parts.find} == {labels[i] for i in parts.report} == set(labels)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(SteeringError, match="of one speaker or recording"):
        split_parts(["a"] * 5)
    with pytest.raises(SteeringError, match="label 'x' is in one speaker"):
        split_parts(["a", "a", "b", "c"], ["x", "x", "y", "y"])
    with pytest.raises(SteeringError, match="between 0 and 1"):
        split_parts(["a", "b"], share=1.0)


def test_the_order_of_groups_is_all_that_the_seed_decides():
    groups = [f"g{i}" for i in range(10)]
    assert split_parts(groups, seed=1).find.tolist() == split_parts(groups, seed=1).find.tolist()
    assert any(split_parts(groups, seed=s).find.tolist() != split_parts(groups, seed=0).find.tolist() for s in range(5))


def test_groups_that_are_not_named_are_warned_of():
    guessed = parts_of(excerpts(["a", "b", "c", "d"]))
    assert "one speaker may be in both" in guessed.warnings[0]
    assert not guessed.in_sample
    assert parts_of(excerpts(["a", "b", "c", "d"], grouped=True)).warnings == ()


def test_one_group_without_labels_is_one_part_and_says_so():
    parts = parts_of(excerpts(["a", "a"]))
    assert parts.in_sample
    assert parts.find.tolist() == parts.report.tolist() == [0, 1]
    assert "in_sample" in parts.warnings[0]
    with pytest.raises(SteeringError):
        parts_of(excerpts(["a", "a"], ["x", "y"]))


def test_parts_that_the_user_gives():
    given = excerpts(["a", "b", "c"], grouped=True, report=(False, True, False))
    assert parts_of(given).report.tolist() == [1]
    with pytest.raises(SteeringError, match="'a' is in both parts"):
        parts_of(excerpts(["a", "a"], report=(False, True)))
