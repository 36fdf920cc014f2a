"""Calibrate a recipe: the kind of edit, its features, its strength and its gate, by what they cost on speech."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ...data.audio import Samples
from ...data.clips import ClipSet
from ...errors import (
    AudioError,
    EditError,
    GateError,
    MissingExtraError,
    NeverCalledWarning,
    RecipeError,
    SiteError,
    SteeringError,
)
from ...io.progress import Tell
from ...models.registry import unwrap
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from .candidates import Candidate, Variant, candidates, variants
from .evaluator import Arms, Figures, Material
from .gate_thresholds import Mode
from .pareto import Budget, front
from .results import Outcome, compose, write_files
from .successive_halving import CalibrateSettings, Cliffs, Sweep, Tried

MODES: tuple[Mode, ...] = ("timed", "untimed")


class Calibrated(NamedTuple):
    """What calibration chose, and by what."""

    recipe: Recipe
    """With the chosen edits, strength and gate, how they were chosen, and what they do."""
    chosen: Candidate
    """Kind of edit, features, strength, gate."""
    front: tuple[Tried, ...]
    """The survivors that no other survivor beats in both text and word errors, by rising text."""
    cliff: Cliffs
    """The strength at which speech breaks, as chosen and ungated."""
    margin: float
    """How many times the chosen strength the cliff is away; at least that, where none was found."""
    figures: dict[Mode, Figures]
    """Of the chosen, on all clips, by decoding mode."""
    unsteered: dict[Mode, Figures]
    """Of the model as it is."""


def calibrate(
    model: Any,
    recipes: str | Path | Recipe | Sequence[str | Path | Recipe],
    absent: Sequence[Samples],
    present: Sequence[Samples],
    texts: Sequence[str | None] | None = None,
    budget: Budget | None = None,
    *,
    settings: CalibrateSettings | None = None,
    out: str | Path | None = None,
    name: str | None = None,
    cache: str | Path | None = None,
    command: str | None = None,
    data: dict[str, list[str]] | None = None,
    split: str | None = None,
    progress: Tell | None = None,
) -> Calibrated:
    """Choose among variants of recipes the one that writes least where nobody speaks, within a budget on speech.

    Candidates are recipes × kinds of edit × numbers of features × strengths × gates. Successive halving (Jamieson &
    Talwalkar, AISTATS 2016) gives all of them a few clips, and the better half of each gating twice as many, until
    those that are left have seen all clips. Of those within the budget the one with the least text is taken, or one
    within `settings.near` points of it that is further from the strength at which speech breaks. With a cache,
    an interrupted run goes on where it stopped.

    Args:
        model: an openai-whisper model that nothing steers.
        recipes: one or several, as `load_recipe` takes them; for other layers, or found in other ways.
        absent: clips without speech, mono float32 at 16 kHz; the first 30 s of each are heard.
        present: clips with speech.
        texts: what is said in them; None, for one or for all, where that is not known: there, what the unsteered
            model writes is taken for it.
        budget: what steering may cost.
        settings: what is tried, and how it is chosen.
        out: the recipe to write, `.json`. A folder beside it gets `front.png` and `candidates.json`.
        name: of the recipe; default: that of `out`, or of the recipe it came from.
        cache: folder for residuals and texts, of about 1 MB for each clip, layer and mode.
        command: how it was called, for the recipe.
        data: what the clips are, for the recipe.
        split: how the clips relate to those that the recipes were found on, for the recipe.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: nothing keeps the budget, or an argument cannot be; says what to try.
        AudioError: a kind has no clips, or there are not as many texts as clips with speech.
        RecipeError: a recipe does not fit the model.
        MissingExtraError: jiwer, scikit-learn (with a clip gate) or matplotlib (with `out`) is not installed.
    """
    budget, settings = budget or Budget(), settings or CalibrateSettings()
    said = [None] * len(present) if texts is None else list(texts)
    model = unwrap(model)
    _check(model, absent, present, said, budget, settings, out)
    given = [recipes] if isinstance(recipes, (str, Path, Recipe)) else list(recipes)
    opened = [_opened(recipe, model) for recipe in given]
    if not opened:
        raise SteeringError("there is no recipe to calibrate; name at least one")
    saes = [recipe.load_saes() for recipe in opened]
    tell = progress or (lambda what, done, total: None)
    arms = Arms(
        model,
        opened,
        saes,
        Material(absent, present, said),
        settings.modes,
        cache=None if cache is None else Path(cache),
        language=settings.language,
        batch=settings.batch,
        tell=tell,
    )
    made, odd = _variants(model, arms, settings)
    sweep = Sweep(
        arms,
        candidates(made, opened, settings.strengths, settings.gate_margins, settings.gates),
        budget,
        settings,
    )
    survivors = sweep.run(tell)
    choice = sweep.choose(survivors, tell)
    if all(one.candidate != choice.tried.candidate for one in survivors):
        survivors.append(choice.tried)  # a weaker one than any that survived, for its margin
    outcome = Outcome(choice, tuple(survivors), sweep.unsteered(), odd, command, data or {}, split)
    recipe = compose(sweep, outcome, name, None if out is None else Path(out))
    if out is not None:
        write_files(recipe, sweep, outcome, Path(out))
    best = [survivors[i] for i in front([one.score for one in survivors])]
    return Calibrated(
        recipe,
        choice.tried.candidate,
        tuple(best),
        choice.cliffs,
        choice.margin,
        choice.tried.figures,
        outcome.unsteered,
    )


def _opened(source: str | Path | Recipe, model: Any) -> Recipe:
    recipe = load_recipe(source, model)
    misfit = recipe.misfit(model)
    if misfit is not None:
        raise RecipeError(f"{recipe} does not fit this model: {misfit}; calibrate it on the model it is for")
    return recipe


def _variants(model: Any, arms: Arms, settings: CalibrateSettings) -> tuple[list[Variant], dict[str, str]]:
    """The variants that this model can run, and why the others cannot."""
    made: list[Variant] = []
    odd: dict[str, str] = {}
    for number, recipe in enumerate(arms.recipes):
        for variant in variants(number, recipe, arms.saes[number], settings.kinds, settings.shares):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", NeverCalledWarning)
                    arms.build(variant).remove()
            except (EditError, GateError, SiteError) as error:
                if variant.kind == "as written":
                    raise
                odd.setdefault(f"{recipe.name}: {variant.kind}", str(error))
            else:
                made.append(variant)
    return made, odd


def _check(
    model: Any,
    absent: Sequence[Samples],
    present: Sequence[Samples],
    texts: Sequence[str | None],
    budget: Budget,
    settings: CalibrateSettings,
    out: str | Path | None,
) -> None:
    if not hasattr(model, "dims"):
        raise SteeringError("calibration needs an openai-whisper model: load_whisper(..., library='openai')")
    if any(block._forward_hooks for part in (model.encoder, model.decoder) for block in part.blocks):
        raise SteeringError("the model is steered already; remove() that first, so that unsteered is unsteered")
    if not len(absent) or not len(present):
        raise AudioError(
            f"{len(absent)} clips without and {len(present)} with speech; calibration needs both, 100 of each or more"
        )
    if len(texts) != len(present):
        raise AudioError(f"{len(texts)} texts for {len(present)} clips with speech; give one for each, or None")
    if not (budget.wer >= 0 and 0 <= budget.blanked <= 1):
        raise SteeringError(
            f"a budget of {budget.wer} points and {budget.blanked} blanked cannot be; expected points of WER, 0 or "
            "more, and a share of clips: Budget(wer=0.1, blanked=0.005)"
        )
    unknown = [mode for mode in settings.modes if mode not in MODES]
    if unknown or not settings.modes:
        raise SteeringError(f"modes are {list(settings.modes)}; expected some of {', '.join(MODES)}")
    if not (settings.margin >= 1 and settings.near >= 0 and settings.batch >= 1 and settings.cliff_clips >= 1):
        raise SteeringError("margin is 1 or more, near is 0 or more points, batch and cliff_clips are 1 or more clips")
    if out is not None:
        check_target(Path(out))


def modes_of(name: str) -> tuple[Mode, ...]:
    """The decoding modes that `timed`, `untimed` or `both` stands for.

    Raises:
        SteeringError: it is none of them.
    """
    if name == "both":
        return MODES
    found: tuple[Mode, ...] = tuple(mode for mode in MODES if mode == name)
    if not found:
        raise SteeringError(f"modes {name!r} is unknown; expected timed, untimed or both")
    return found


def texts_of(speech: ClipSet, table: Path) -> list[str | None]:
    """What a table with the columns `file` and `text`, divided by tabs, says of clips, by the files' names.

    Raises:
        AudioError: it cannot be read, or names none of the clips.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        said = {Path(row["file"]).name: row["text"] for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, csv.Error) as error:
        raise AudioError(
            f"{table} cannot be read ({error!r:.200}); expected a table with the columns file and text, divided by tabs"
        ) from error
    found = [said.get(Path(clip.name).name) for clip in speech.clips]
    if all(text is None for text in found):
        raise AudioError(f"{table} names none of the {len(found)} clips with speech, such as {speech.clips[0].name}")
    return found


def check_target(out: Path) -> None:
    """Refuse a recipe's path that cannot be written, before hours of work rather than after.

    Raises:
        SteeringError: it does not end in .json, or its folder is not there.
        MissingExtraError: matplotlib, for the picture, is not installed.
    """
    if out.suffix != ".json":
        raise SteeringError(f"{out} is no name for a recipe; expected one that ends in .json")
    if not out.parent.is_dir():
        raise SteeringError(f"there is no folder {out.parent} to write the recipe into; make it first")
    if find_spec("matplotlib") is None:
        raise MissingExtraError("the picture needs matplotlib; run: pip install 'audiosae-steer[evaluate]'")
