"""Card of a recipe that `make` calibrated and tested: its use, origin, figures and limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.files import write_atomic
from ..models.load import NAMES
from ..steering.recipes.schema import Recipe
from .card import LEARNED, TAG, dataset_ids, edits_in_words, false_speech_limits, licence_lines, partition_table, render
from .measured_table import ON_TEST, MeasuredRow, measured_table

TAGS = (TAG, "whisper", "sparse-autoencoder", "steering")
"""Tags by which a recipe against false speech is found on the Hub."""


def write_card(
    folder: Path,
    gated: Recipe,
    ungated: Recipe | None,
    found: Mapping[str, Mapping[str, MeasuredRow]],
    partitions: Mapping[str, Any],
    *,
    refused: str | None = None,
    base: str | None = None,
    command: str | None = None,
) -> Path:
    """Write `README.md` beside a recipe, atomically.

    Args:
        folder: folder of the recipe.
        gated: the recipe.
        ungated: the recipe without gates, if there is one.
        found: rows measured on the test clips, by mode and arm.
        partitions: `provenance` of the clips' `Partitions`.
        refused: reason why there is no recipe without gates.
        base: the model's id on the Hub.
        command: command line that made it.
    """
    sources = _sources(partitions)
    header = {
        "library_name": TAG,
        "pipeline_tag": "automatic-speech-recognition",
        "base_model": base,
        "tags": list(TAGS),
        "datasets": dataset_ids(sources),
    }
    bare = f"`{ungated.name}`" if ungated else "the edits without gates"
    text = render(
        "calibration_card",
        header,
        recipe=gated,
        ungated=ungated,
        model=gated.model.name if gated.model.name in NAMES else base or gated.model.name,
        command=command,
        edits=f"{edits_in_words(gated)}; {LEARNED}",
        choices={recipe.name: _choice(recipe) for recipe in (gated, ungated) if recipe is not None},
        partitions=partition_table(partitions),
        on_test=ON_TEST,
        tables=[measured_table(mode, rows, gated, bare) for mode, rows in found.items()],
        refused=refused if refused is None else refused.strip(),
        limits=false_speech_limits(gated),
        licences=licence_lines(sources),
    )
    path = folder / "README.md"
    write_atomic(path, text)
    return path


def _choice(recipe: Recipe) -> str:
    """The candidate that calibration chose, in words; a recipe's description where it does not say."""
    calibrated: Mapping[str, Any] = recipe.provenance.get("calibrated", {})
    return calibrated.get("chosen", {}).get("in_words", "") or recipe.description


def _sources(partitions: Mapping[str, Any]) -> list[str]:
    """Sources of all clips, each once."""
    every = [
        name
        for sides in partitions.values()
        for side in ("find", "calibrate", "test")
        for name in sides[side]["sources"]
    ]
    return list(dict.fromkeys(every))
