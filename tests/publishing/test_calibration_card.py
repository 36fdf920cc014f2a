"""The card of a calibrated recipe, from figures as the benchmark gives them."""

from __future__ import annotations

import pytest

from audiosae_steer import load_recipe
from audiosae_steer.data.partitions import PARTITIONS
from audiosae_steer.evaluate.metrics.rates import Share
from audiosae_steer.evaluate.metrics.wer import Difference
from audiosae_steer.publishing.calibration_card import write_card
from audiosae_steer.publishing.measured_table import MeasuredRow
from audiosae_steer.steering.recipes.load import checkpoints_dir

DEALT = {
    "without speech": {
        **{
            side: {"sources": ["hub:esc50@abc"], "clips": n} for side, n in (("find", 6), ("calibrate", 2), ("test", 3))
        },
        "apart": "recording or speaker and kind of sound",
    },
    "with speech": {
        **{side: {"sources": ["my-clips"], "clips": n} for side, n in zip(PARTITIONS, (7, 4, 5), strict=True)},
        "apart": "given apart",
    },
}


def row(text: int, blanked: int, wer: float | None) -> MeasuredRow:
    share = Share(text, 50, text / 50, min(text / 50 + 0.07, 1.0))
    change = None if wer is None else Difference(wer - 0.04, wer - 0.05, wer - 0.03)
    return MeasuredRow(share, share, wer, change, blanked, 40)


FOUND = {
    "timed": {"unsteered": row(45, 0, 0.04), "learned-1": row(2, 1, 0.042), "clip-gated": row(1, 0, 0.04)},
    "untimed": {"unsteered": row(40, 0, None), "clip-gated": row(0, 0, None)},
}


@pytest.fixture
def recipe():
    """With a clip gate."""
    shipped = load_recipe(checkpoints_dir() / "whisper-tiny.en" / "no-false-speech.json")
    return shipped.model_copy(update={"frame_gate": None})


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("whisper-tiny.en", "Constants on 64 features of a sparse autoencoder at encoder layer 4; learned by gradient"),
        (
            "whisper-base",
            "A vector after each of 6 decoder layers, at the step that writes a text's first token; learned",
        ),
    ],
)
def test_it_says_what_is_edited(file, says, tmp_path):
    recipe = load_recipe(checkpoints_dir() / file / "no-false-speech.json")
    assert says in write_card(tmp_path, recipe, None, FOUND, DEALT, refused="too dear").read_text()


def test_every_figure_is_in_its_row(recipe, tmp_path):
    bare = recipe.model_copy(update={"name": "bare", "gate": None})
    command = "audiosae-steer make no-false-speech --out made"
    path = write_card(tmp_path, recipe, bare, FOUND, DEALT, base="openai/whisper-tiny.en", command=command)
    lines = path.read_text().splitlines()
    assert (
        "| unsteered | 45 of 50 [90.0%, 97.0%] | 45 of 50 [90.0%, 97.0%] | 4.00% | +0.00 [-1.00, +1.00] | 0 of 40 |"
        in lines
    )
    assert (
        "| `bare` | 2 of 50 [4.0%, 11.0%] | 2 of 50 [4.0%, 11.0%] | 4.20% | +0.20 [-0.80, +1.20] | 1 of 40 |" in lines
    )
    assert any(line.startswith("| behind the clip gate alone (`no-false-speech`) | 1 of 50") for line in lines)
    assert any(line.endswith("| – | – | 0 of 40 |") for line in lines)
    assert "| clips without speech | 6 | 2 | 3 | recording or speaker and kind of sound |" in lines
    assert "| clips with speech | 7 | 4 | 5 | given apart |" in lines
    assert command in lines
    assert "base_model: openai/whisper-tiny.en" in lines
    assert lines[: lines.index("---", 1)].count("- ashraq/esc50") == 1
    assert "- `my-clips`: its licence is that of its own page or folder" in lines
    assert not (tmp_path / ".README.md.part").exists()


def test_without_an_ungated_recipe_it_says_why(recipe, tmp_path):
    text = write_card(tmp_path, recipe, None, FOUND, DEALT, refused="nothing keeps the budget\n").read_text()
    assert "There is no recipe without gates: nothing keeps the budget" in text
    assert "`bare`" not in text
    assert "bake" not in text
    assert "| the edits without gates | 2 of 50" in text
    assert "base_model" not in text
