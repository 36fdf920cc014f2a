"""What a model remembers of what was baked into it."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path

import pytest
from make import make_openai

from audiosae_steer import BakedWarning, load_recipe, steer
from audiosae_steer.io.files import MARK
from audiosae_steer.models.marker import baked_in, mark, marked


def test_the_same_recipe_once_more_is_warned_of_and_another_is_not() -> None:
    model = make_openai(d=384, layers=4)  # tiny.en's sizes
    recipe = load_recipe("no-false-speech", model)
    spec = recipe.model.model_copy(update={"fingerprint": None})
    recipe = recipe.model_copy(update={"gate": None, "timestamp_gate": None, "model": spec})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steer(model, recipe).bake()
    assert marked(model) == marked(copy.deepcopy(model)) == marked(pickle.loads(pickle.dumps(model)))
    with pytest.warns(BakedWarning, match="no-false-speech.* is baked into this model already.*load the unbaked model"):
        steer(model, recipe)._leave(quiet=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steer(model, recipe.model_copy(update={"name": "another"}))._leave(quiet=True)


def test_names_add_up() -> None:
    model = make_openai(d=24)
    assert marked(model) == ()
    mark(model, ["a"])
    mark(model, ["b"])
    assert marked(model) == ("a", "b")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"recipes": {}}', '{"recipes": null}', '{"recipes": [3, null]}', "[" * 10_000],
    ids=range(8),
)
def test_a_record_that_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / MARK).write_text(content)
    assert baked_in(tmp_path) == ()
    assert baked_in(tmp_path / "model.pt") == ()


def test_no_record(tmp_path: Path) -> None:
    assert baked_in(tmp_path) == ()
