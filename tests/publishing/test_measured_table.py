"""Tables of a card."""

from __future__ import annotations

import pytest

from audiosae_steer import load_recipe
from audiosae_steer.publishing.measured_table import arm_of, recorded_rows
from audiosae_steer.steering.recipes.load import checkpoints_dir

ROW = {"text": [3, 50], "text_filters_on": [1, 50], "blanked": [2, 40]}


def test_the_arm_that_a_recipe_is():
    shipped = load_recipe(checkpoints_dir() / "whisper-tiny.en" / "no-false-speech.json")
    recipe = shipped.model_copy(update={"frame_gate": None})
    assert arm_of(recipe) == "clip-gated"
    assert arm_of(recipe.model_copy(update={"gate": None})) == "learned-1"


def test_recorded_figures_become_rows():
    rates = {"wer": 4.2, "wer_change": [0.2, -0.8, 1.2]}
    rows = recorded_rows({"timed": {"unsteered": {**ROW, **rates}, "learned-1": ROW}})
    assert rows is not None
    row = rows["timed"]["unsteered"]
    assert (row.text.hits, row.text.clips, row.filtered.hits, row.new, row.clips) == (3, 50, 1, 2, 40)
    assert (row.wer, row.change.value) == (pytest.approx(0.042), pytest.approx(0.002))
    assert rows["timed"]["learned-1"].wer is None


@pytest.mark.parametrize(
    "test",
    [None, {}, "timed", {"fast": {"a": ROW}}, {"timed": 3}, {"timed": {"a": {**ROW, "text": [5, 2]}}},
     {"timed": {"a": {**ROW, "text": [0, 10**9]}}}, {"timed": {"a": {}}}],
)  # fmt: skip
def test_records_of_another_form_are_no_rows(test):
    assert recorded_rows(test) is None
