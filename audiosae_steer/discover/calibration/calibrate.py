"""Calibration of a recipe: kind of edit, features, strength and gates, chosen by their cost on speech."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...data.audio import Samples
from ...data.clips import ClipSet
from ...errors import AudioError, EditError, GateError, NeverCalledWarning, RecipeError, SiteError, SteeringError
from ...models.registry import unwrap
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from .candidates import Candidate, Variant, candidates, variants
from .evaluator import CalibrationClips, Evaluator, Figures
from .pareto import front
from .results import Outcome, compose, write_files
from .settings import Budget, CalibrateSettings, CalibrationOutput, Mode
from .successive_halving import Cliffs, Sweep, Tried


class Calibrated(NamedTuple):
    """The chosen candidate, its recipe and its figures."""

    recipe: Recipe
    """Recipe with the chosen edits, strength and gates; its provenance and figures say how they were chosen."""
    chosen: Candidate
    """Kind of edit, features, strength and gates."""
    front: tuple[Tried, ...]
    """Survivors that no other survivor beats in both text and word errors, by rising text."""
    cliff: Cliffs
    """Strengths at which speech breaks, with the chosen gate and without."""
    margin: float
    """Ratio of the cliff to the chosen strength; a lower bound where no cliff was found."""
    figures: dict[Mode, Figures]
    """Figures of the chosen candidate on all clips, by decoding mode."""
    unsteered: dict[Mode, Figures]
    """Figures of the unsteered model on all clips, by decoding mode."""


def calibrate(
    model: Any,
    recipes: str | Path | Recipe | Sequence[str | Path | Recipe],
    absent: Sequence[Samples],
    present: Sequence[Samples],
    texts: Sequence[str | None] | None = None,
    budget: Budget | None = None,
    *,
    settings: CalibrateSettings | None = None,
    out: str | Path | CalibrationOutput | None = None,
) -> Calibrated:
    """Choose among variants of recipes the one that writes least on non-speech, within a budget on speech.

    Candidates are recipes × kinds of edit × numbers of features × strengths × gates. Successive halving (Jamieson &
    Talwalkar, AISTATS 2016) gives all of them a few clips, and the better half of each gating twice as many, until
    those that are left have met all clips. Of those within the budget the one with the least text is taken, or one
    within `settings.near` points of it that is further from the strength at which speech breaks. With a cache,
    an interrupted run resumes.

    Args:
        model: an openai-whisper model, unsteered.
        recipes: one or several, as `load_recipe` takes them; for other layers, or found in other ways.
        absent: clips without speech, mono float32 at 16 kHz; the first 30 s of each are used.
        present: clips with speech.
        texts: reference texts of `present`; None, for one or for all, where unknown: there, the unsteered model's text
            is taken.
        budget: highest cost on speech.
        settings: candidates and choice.
        out: recipe to write, `.json`, or a `CalibrationOutput` with name, cache, provenance and progress, too.

    Raises:
        SteeringError: no candidate keeps the budget, or an argument is invalid; the message says what to try.
        AudioError: a kind has no clips, or there are not as many texts as clips with speech.
        RecipeError: a recipe does not fit the model.
        MissingExtraError: jiwer, scikit-learn (with a clip gate) or matplotlib (with `out`) is not installed.
    """
    output, model = CalibrationOutput.of(out), unwrap(model)
    _check_unsteered(model)
    clips = CalibrationClips(absent, present, [None] * len(present) if texts is None else list(texts))
    opened = _open(recipes, model)
    settings = settings or CalibrateSettings()
    evaluator = Evaluator(model, opened, [recipe.load_saes() for recipe in opened], clips, settings, output)
    runnable, failed = _variants(evaluator)
    tried = candidates(runnable, opened, settings.strengths, settings.gate_margins, settings.gates)
    sweep = Sweep(evaluator, tried, budget or Budget())
    survivors = sweep.run()
    choice = sweep.choose(survivors)
    if all(each.candidate != choice.tried.candidate for each in survivors):
        survivors.append(choice.tried)  # a weaker one than any that survived, for its margin
    outcome = Outcome(choice, tuple(survivors), sweep.unsteered(), failed)
    recipe = compose(sweep, outcome)
    if output.path is not None:
        write_files(recipe, sweep, outcome, output.path)
    best = tuple(survivors[i] for i in front([each.score for each in survivors]))
    chosen = choice.tried
    return Calibrated(recipe, chosen.candidate, best, choice.cliffs, choice.margin, chosen.figures, outcome.unsteered)


def reference_texts(speech: ClipSet, table: Path) -> list[str | None]:
    """Texts of clips by file name, from a table with the columns `file` and `text`, separated by tabs.

    Raises:
        AudioError: the table cannot be read, or names none of the clips.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        texts = {Path(row["file"]).name: row["text"] for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, csv.Error) as error:
        raise AudioError(
            f"{table} cannot be read ({error!r:.200}); expected a table with the columns file and text, divided by tabs"
        ) from error
    found = [texts.get(Path(clip.name).name) for clip in speech.clips]
    if all(text is None for text in found):
        raise AudioError(f"{table} names none of the {len(found)} clips with speech, such as {speech.clips[0].name}")
    return found


def _open(recipes: str | Path | Recipe | Sequence[str | Path | Recipe], model: Any) -> list[Recipe]:
    """Recipes, loaded and checked against the model."""
    sources = [recipes] if isinstance(recipes, (str, Path, Recipe)) else list(recipes)
    opened = []
    for source in sources:
        recipe = load_recipe(source, model)
        misfit = recipe.misfit(model)
        if misfit is not None:
            raise RecipeError(f"{recipe} does not fit this model: {misfit}; calibrate it on the model it is for")
        opened.append(recipe)
    if not opened:
        raise SteeringError("there is no recipe to calibrate; name at least one")
    return opened


def _variants(evaluator: Evaluator) -> tuple[list[Variant], dict[str, str]]:
    """Variants that this model can run, and the errors of the others by recipe and kind."""
    runnable: list[Variant] = []
    failed: dict[str, str] = {}
    settings = evaluator.settings
    for number, recipe in enumerate(evaluator.recipes):
        for variant in variants(number, recipe, evaluator.saes[number], settings.kinds, settings.shares):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", NeverCalledWarning)
                    evaluator.build(variant).remove()
            except (EditError, GateError, SiteError) as error:
                if variant.kind == "as written":
                    raise
                failed.setdefault(f"{recipe.name}: {variant.kind}", str(error))
            else:
                runnable.append(variant)
    return runnable, failed


def _check_unsteered(model: Any) -> None:
    if not hasattr(model, "dims"):
        raise SteeringError("calibration needs an openai-whisper model: load_whisper(..., library='openai')")
    if any(block._forward_hooks for part in (model.encoder, model.decoder) for block in part.blocks):
        raise SteeringError("the model is steered already; remove() that first, so that unsteered is unsteered")
