from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiosae_steer.errors import AudioSAESteerError, EditError, SteeringError
from audiosae_steer.explorer.live.steering_request import (
    MOST_EDITS,
    clip_of,
    judged_of,
    parse_content,
    request_of,
    session_of,
)
from audiosae_steer.steering.edits import Ablate, Add, Clamp, Scale, Set

BASE: dict[str, Any] = {"clip": 3}


def edit(**content: Any) -> Any:
    (found,) = request_of({**BASE, "edits": [{"layer": 4, "feature": 7, **content}]}).edits
    return found.edit


def test_every_kind_of_edit_can_be_asked_for() -> None:
    assert edit(kind="ablate") == Ablate(7)
    assert edit(kind="scale", factor=0.5) == Scale(7, 0.5)
    assert edit(kind="clamp", high=2) == Clamp(7, None, 2.0)
    assert edit(kind="set", value=1, only_active=True) == Set(7, 1.0, only_active=True)
    assert edit(kind="add", amount=-2, units="typical") == Add(7, -2.0, units="typical")
    assert edit(kind="ablate", window=[1, 2.5]) == Ablate(7, window=(1, 2.5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "push", "vector": [1.0]},
        {"kind": "scale"},
        {"kind": "scale", "factor": "2"},
        {"kind": "scale", "factor": True},
        {"kind": "scale", "factor": 1e300},
        {"kind": "clamp"},
        {"kind": "clamp", "low": 2, "high": 1},
        {"kind": "add", "amount": 1, "units": "metres"},
        {"kind": "ablate", "feature": -1},
        {"kind": "ablate", "feature": 1.5},
        {"kind": "ablate", "layer": "4"},
        {"kind": "ablate", "window": [1]},
        {"kind": ["ablate"]},
    ],
)
def test_what_is_no_edit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EditError):
        edit(**wrong)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"clip": -1},
        {"clip": True},
        {"clip": "1"},
        {"clip": 1, "own": "abc"},
        {"own": "../x"},
        {"own": ""},
    ],
)
def test_a_request_names_one_clip(content: dict[str, Any]) -> None:
    with pytest.raises(SteeringError, match="names no clip"):
        clip_of(content)


@pytest.mark.parametrize(
    "content",
    [
        {"edits": {}},
        {"edits": [1]},
        {"edits": [{"kind": "ablate", "layer": 4, "feature": 1}] * (MOST_EDITS + 1)},
        {"recipes": [{"name": ""}]},
        {"recipes": [{"name": "a", "strength": None}]},
        {"gate": 3},
        {"strength": float("nan")},
        {"allow_empty": 1},
    ],
)
def test_parts_that_are_none_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(AudioSAESteerError):
        request_of({**BASE, **content})


def test_a_page_says_which_it_is() -> None:
    assert session_of({"session": "abcdefgh-1"}) == "abcdefgh-1"
    for wrong in (None, "", "short", "a b c d e f", "x" * 65, 12345678):
        with pytest.raises(SteeringError, match="which page"):
            session_of({"session": wrong})


def test_judged_clips_have_a_name_and_a_known_rating() -> None:
    found = judged_of({"judged": [{"name": " a  b ", "rating": "same"}, {"name": "c", "rating": None}]})
    assert found == (("a b", "same"), ("c", ""))
    for wrong in ({"name": "", "rating": "same"}, {"name": "a", "rating": "great"}, {"rating": "same"}):
        with pytest.raises(SteeringError, match="judged"):
            judged_of({"judged": [wrong]})


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 5000])
def test_a_body_is_a_json_object(body: bytes) -> None:
    with pytest.raises(SteeringError, match="request is not"):
        parse_content(body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["clip", "own", "edits", "recipes", "gate", "strength", "allow_empty", "timestamps"])
PARTS = st.dictionaries(st.sampled_from(["kind", "layer", "feature", "factor", "low", "window", "name"]), VALUES)


@settings(max_examples=40)
@given(st.dictionaries(NAMES, VALUES | st.lists(PARTS, max_size=2)))
def test_any_content_gives_a_request_or_one_of_our_errors(content: dict[str, Any]) -> None:
    try:
        found = request_of(content)
    except AudioSAESteerError:
        return
    assert all(wish.edit for wish in found.edits)
