"""Edits: what they accept, what they refuse, and that they compose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make import edit_lists

from audiosae_steer import Ablate, Add, Clamp, EditError, Push, Scale, Set
from audiosae_steer.steering.affine import Affine
from audiosae_steer.steering.edits import FeatureEdit, from_spec

NAN, INF = math.nan, math.inf


@given(edits=edit_lists(F=1, d=4, windows=False, max_size=6), f=st.floats(0, 5))
def test_composed_maps_equal_the_edits_one_after_the_other(edits: list[Any], f: float) -> None:
    typical = torch.tensor([0.7], dtype=torch.float64)
    composed = Affine.identity(1)
    one_by_one = torch.tensor([f], dtype=torch.float64)
    for edit in edits:
        if isinstance(edit, FeatureEdit):
            composed = composed.then(edit.affine(typical))
            one_by_one = edit.affine(typical)(one_by_one)
    torch.testing.assert_close(composed(torch.tensor([f], dtype=torch.float64)), one_by_one)


def test_numpy_indices_and_single_features_are_taken() -> None:
    import numpy as np

    assert Ablate(np.array([3, 1])).features == (3, 1)
    assert Ablate(np.int64(7)).features == (7,)
    assert Scale((2, 5), 0.5).factor == (0.5, 0.5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Ablate([]), "at least one"),
        (lambda: Ablate(-1), "negative"),
        (lambda: Ablate([1, 1]), "twice"),
        (lambda: Ablate(1.5), "whole numbers"),
        (lambda: Ablate("17"), "index"),
        (lambda: Ablate(True), "index"),
        (lambda: Scale([1, 2], [0.5]), "2 features but 1"),
        (lambda: Scale(1, INF), "infinite"),
        (lambda: Clamp(1), "low"),
        (lambda: Clamp(1, low=1.0, high=0.0), "swap"),
        (lambda: Clamp(1, low=INF), "finite"),
        (lambda: Clamp(1, low=NAN), "NaN"),
        (lambda: Set(1, NAN), "NaN"),
        (lambda: Add(1, 1.0, units="big"), "units"),
        (lambda: Push([]), "d_model"),
        (lambda: Push([1.0, NAN]), "NaN"),
        (lambda: Push(torch.ones(2, 2)), "shape"),
        (lambda: Push([1.0], INF), "infinite"),
        (lambda: Ablate(1, window=(2.0, 1.0)), "start < end"),
        (lambda: Ablate(1, window=(-1.0, 1.0)), "start < end"),
        (lambda: Ablate(1, window=3.0), "seconds"),
        (lambda: Ablate(1, window=(0.0, NAN)), "start < end"),
        (lambda: from_spec({"kind": "explode"}), "unknown"),
        (lambda: from_spec({"kind": "ablate", "features": [1], "amount": 3}), "arguments"),
        (lambda: from_spec({"kind": "add", "features": [1]}), "arguments"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, says: str) -> None:
    with pytest.raises(EditError, match=says):
        make()


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_values_may_be_arrays(kind: Any) -> None:
    assert Add(kind([1, 2]), kind([0.5, -2.0])) == Add([1, 2], [0.5, -2.0])
    assert Scale([4], kind([0.5])) == Scale(4, 0.5)


@pytest.mark.parametrize("one", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5)])
def test_one_number_is_for_all_features(one: Any) -> None:
    assert Scale([1, 2, 3], one) == Scale([1, 2, 3], [0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Set([1], None),
        lambda: Scale([1], "much"),
        lambda: Add([1], [[1.0]]),
        lambda: Add([1], []),
        lambda: Push([1.0, 2.0], "x"),
        lambda: Push(["a", "b"], 1.0),
    ],
)
def test_what_is_no_number_is_refused(make: Any) -> None:
    with pytest.raises(EditError, match="expected a number|values of amount"):
        make()


def test_typical_units_need_typical_activations() -> None:
    with pytest.raises(EditError, match="typical"):
        Add(1, 1.0, units="typical").affine(None)


def test_specs_of_recipes_make_the_same_edits() -> None:
    assert from_spec({"kind": "ablate", "features": [3], "window": [0.5, 1]}) == Ablate(3, window=(0.5, 1.0))
    assert from_spec({"kind": "scale", "features": [3], "factor": 0.5}) == Scale(3, 0.5)
    assert from_spec({"kind": "clamp", "features": [3], "high": 2}) == Clamp(3, high=2.0)
    assert from_spec({"kind": "set", "features": [3], "value": 2, "only_active": True}) == Set(3, 2.0, only_active=True)
    assert from_spec({"kind": "add", "features": [3, 4], "amount": [1, 2]}) == Add([3, 4], [1.0, 2.0])
    push = from_spec({"kind": "push", "vector": [1, 2], "amount": 3})
    assert isinstance(push, Push)
    assert push.vector.tolist() == [1.0, 2.0]
    assert push.amount == 3.0
