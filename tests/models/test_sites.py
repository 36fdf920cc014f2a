"""Recognising a model, finding its layers, telling its weights, and opening the door to an empty text."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from make import make_hf, make_openai

from audiosae_steer import SiteError, UnknownModelError, list_sites, recipes, steer
from audiosae_steer.models.families.method_override import overridden, override
from audiosae_steer.models.registry import FAMILIES, family_of, fingerprint, tap_at, unwrap
from audiosae_steer.models.sites import Dims, Site
from audiosae_steer.models.whisper.read_transformers import from_model
from audiosae_steer.models.whisper.weights import to_openai


@pytest.mark.parametrize("make", [make_openai, make_hf])
def test_each_family_knows_its_own(make: Any) -> None:
    model = make()
    family = family_of(model)
    assert [f for f in FAMILIES if f.matches(model)] == [family]
    assert family.dims(model) == Dims(64, 3, 3, 51864)
    assert family.frame_rate(model, Site(1)) == 50.0
    assert family.frame_rate(model, Site(1, "decoder")) is None
    blocks = [tap_at(model, family, Site(layer, side)).module for side in ("encoder", "decoder") for layer in (1, 2, 3)]
    assert len({id(block) for block in blocks}) == 6
    with pytest.raises(SiteError, match="no encoder layer 4"):
        tap_at(model, family, Site(4))


def test_the_bare_transformers_model_is_known_too() -> None:
    model = make_hf().model
    assert family_of(model).dims(model).d_model == 64


def test_wrappings_are_seen_through() -> None:
    model = make_openai()
    assert unwrap(torch.compile(model)) is model

    class Pipeline:
        def __init__(self) -> None:
            self.model = model

    assert unwrap(Pipeline()) is model
    with pytest.raises(UnknownModelError):
        family_of(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("call", [lambda name: steer(name, "no-false-speech"), recipes, list_sites])
def test_a_name_is_no_model_yet(call: Any) -> None:
    for name in ("tiny.en", Path("tiny.en")):
        with pytest.raises(
            UnknownModelError, match=r"'tiny.en' is a name, .* load it first: load_whisper\('tiny.en'\)"
        ):
            call(name)


def test_a_fingerprint_is_of_the_weights_and_not_of_the_library() -> None:
    theirs = make_hf()
    ours = to_openai(from_model(theirs, "test"), "test")
    assert fingerprint(ours) == fingerprint(theirs)
    assert fingerprint(copy.deepcopy(ours).half()) == fingerprint(ours)
    assert fingerprint(copy.deepcopy(theirs).bfloat16()) is None
    with torch.no_grad():
        ours.decoder.blocks[-1].mlp[0].weight[0, 0] += 1
    assert fingerprint(ours) != fingerprint(theirs)


class Model:
    def speak(self) -> str:
        return "plain"


def test_overrides_are_counted_and_leave_in_any_order() -> None:
    def louder(model: Any) -> str:
        return overridden(model, "speak")().upper()

    model, other = Model(), Model()
    first, second = override(model, "speak", louder), override(model, "speak", louder)
    assert model.speak() == "PLAIN"
    assert other.speak() == "plain"
    first()
    first()
    assert model.speak() == "PLAIN"
    second()
    assert model.speak() == "plain"
    assert vars(model) == {}


def test_what_others_put_on_the_instance_is_kept() -> None:
    model = Model()
    model.speak = lambda: "theirs"  # type: ignore[method-assign]
    close = override(model, "speak", lambda m: overridden(m, "speak")() + "!")
    assert model.speak() == "theirs!"
    assert copy.deepcopy(model).speak() == "theirs!"
    close()
    assert model.speak() == "theirs"
    close = override(model, "speak", lambda m: "ours")
    model.speak = lambda: "newer"  # type: ignore[method-assign]
    close()
    assert model.speak() == "newer"
