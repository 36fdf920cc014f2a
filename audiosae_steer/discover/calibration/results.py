"""Files of a calibration: the recipe, a list of all candidates tried, and a picture of the choice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MissingExtraError, RecipeError
from ...evaluate.metrics.rates import Share
from ...io.files import atomic_file, write_atomic
from ...sae.autoencoder import SAE
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import Recipe
from ..sae_files import place_sae
from .breaking_point import Cliff
from .candidates import Candidate
from .evaluator import Figures
from .pareto import front
from .settings import Mode
from .successive_halving import Choice, Sweep, Tried

SPLIT = (
    "chosen and measured on the same clips, gate thresholds placed on them too: what it does on others has to be "
    "measured on others"
)
COLOURS = {"none": "#1f5fa8", "clip": "#1b6e3c", "frame": "#b35c00", "clip+frame": "#7a3b9a"}


class Outcome(NamedTuple):
    """The choice, and the candidates and figures that it was made by."""

    choice: Choice
    survivors: tuple[Tried, ...]
    unsteered: dict[Mode, Figures]
    failed: dict[str, str]
    """Errors of the kinds of edit that could not be run, by recipe and kind."""


def compose(sweep: Sweep, outcome: Outcome) -> Recipe:
    """The recipe of the choice; SAEs that are files are copied beside it if it is to be written."""
    candidate = outcome.choice.tried.candidate
    evaluator, number = sweep.evaluator, candidate.variant.recipe
    base, output = evaluator.recipes[number], evaluator.output
    gate = evaluator.gates.place(number, candidate.margin) if "clip" in candidate.gate else None
    frame_gate = base.frame_gate if "frame" in candidate.gate else None
    timestamp_gate = None if candidate.gate == "none" else base.timestamp_gate
    gates = (gate, frame_gate, timestamp_gate)
    used = {spec.sae for spec in (*candidate.variant.sites, *gates) if spec is not None and spec.sae}
    specs = {key: spec for key, spec in base.saes.items() if key in used}
    if output.path is not None:
        folder = output.path.parent
        specs = {key: _placed(base, key, spec, evaluator.saes[number][key], folder) for key, spec in specs.items()}
    described = candidate.describe(evaluator.recipes)
    recipe = base.model_copy(
        update={
            "name": output.name or (base.name if output.path is None else output.path.stem),
            "description": f"{base.name}, calibrated: {described}.",
            "saes": specs,
            "sites": list(candidate.variant.sites),
            "gate": gate,
            "frame_gate": frame_gate,
            "timestamp_gate": timestamp_gate,
            "strength": candidate.strength,
            "provenance": {**base.provenance, "calibrated": _provenance(sweep, outcome)},
            "measured": {"calibrate": _measured(sweep, outcome)},
        }
    )
    if output.path is not None:
        return recipe.located(output.path.parent)
    return recipe


def write_files(recipe: Recipe, sweep: Sweep, outcome: Outcome, out: Path) -> None:
    """Write the recipe, and in a folder beside it `candidates.json` and `front.png`.

    Raises:
        RecipeError: a file cannot be written.
    """
    folder = folder_of(out)
    try:
        folder.mkdir(exist_ok=True)
        write_atomic(folder / "candidates.json", json.dumps(_listed(sweep, outcome), indent=1) + "\n")
        draw_front(sweep, outcome, folder / "front.png")
        recipe.save(out)
    except OSError as error:
        raise RecipeError(f"cannot write beside {out}: {error.strerror}; choose another folder") from error


def folder_of(out: Path) -> Path:
    """Folder beside a recipe for its list and picture, apart from it since they are no recipes."""
    return out.parent / f"{out.stem}-calibration"


def draw_front(sweep: Sweep, outcome: Outcome, path: Path) -> None:
    """Text on noise against word errors on speech: every survivor a point, the front a line, the chosen one marked."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the picture needs matplotlib; run: pip install 'audiosae-steer[evaluate]'") from error
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    scores = [each.score for each in outcome.survivors]
    for gate in dict.fromkeys(each.candidate.gate for each in outcome.survivors):
        own = [each.score for each in outcome.survivors if each.candidate.gate == gate]
        label = {"none": "ungated", "clip": "clip gate", "frame": "frame gate"}.get(gate, "both gates")
        axes.scatter(
            [s.wer for s in own], [100 * s.text for s in own], s=26, alpha=0.75, color=COLOURS[gate], label=label
        )
        best = [own[i] for i in front(own)]
        axes.plot(
            [s.wer for s in best], [100 * s.text for s in best], color=COLOURS[gate], linewidth=0.8, linestyle=":"
        )
    best = [scores[i] for i in front(scores)]
    axes.plot([s.wer for s in best], [100 * s.text for s in best], color="#444444", linewidth=1.2, label="front")
    plain = sum(each.text.value for each in outcome.unsteered.values()) / len(outcome.unsteered)
    axes.scatter([0.0], [100 * plain], marker="s", s=48, color="#b3261e", label="unsteered", zorder=4)
    chosen = outcome.choice.tried.score
    axes.scatter(
        [chosen.wer], [100 * chosen.text], s=190, facecolors="none", edgecolors="black", linewidths=1.8, zorder=5,
        label="chosen",
    )  # fmt: skip
    budget = sweep.budget
    axes.axvline(budget.wer, color="#b3261e", linestyle="--", linewidth=1, label=f"budget: WER +{budget.wer:g} points")
    if max(s.wer for s in scores) > 5:  # a few candidates beyond the cliff would squeeze all others into one column
        axes.set_xscale("symlog", linthresh=1.0, linscale=1.5)
        ticks = [t for t in (-1, 0, 0.5, 1, 2, 5, 10, 20, 50, 100) if min(0.0, *(s.wer for s in scores)) <= t]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    axes.set_ylim(bottom=-3)
    axes.set_xlabel(
        "word error rate on speech, loops capped, points above unsteered"
        + (", worst mode" * (len(sweep.evaluator.modes) > 1))
    )
    axes.set_ylabel("clips without speech with text, %")
    clips = outcome.choice.tried.clips
    axes.set_title(
        f"{outcome.choice.tried.candidate.describe(sweep.evaluator.recipes)}\n"
        f"{clips[0]} clips without and {clips[1]} with speech; {len(scores)} of {len(sweep.all)} candidates survived",
        fontsize=9.5,
    )
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=130, format="png")


def _placed(base: Recipe, key: str, spec: SAESpec, sae: SAE, folder: Path) -> SAESpec:
    """An SAE's entry in a recipe in `folder`, with the file copied there if it is elsewhere."""
    if spec.file is None or base.folder is None:
        return spec
    layers = [site.layer for site in base.sites if site.sae == key]
    source = base.folder / spec.file
    if source.parent.resolve() == folder.resolve():
        return spec
    return place_sae(sae, source, layers[0] if layers else 0, folder)


def _provenance(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    evaluator, output, clips = sweep.evaluator, sweep.evaluator.output, sweep.evaluator.clips
    known = sum(text is not None for text in clips.texts)
    candidate = outcome.choice.tried.candidate
    return {
        **({"command": output.command} if output.command else {}),
        "from": [recipe.name for recipe in evaluator.recipes],
        "budget": asdict(sweep.budget),
        "settings": asdict(sweep.settings),
        "split": f"{output.split}; {SPLIT}" if output.split else SPLIT,
        **({"data": output.data} if output.data else {}),
        "clips": {"absent": len(clips.absent), "present": len(clips.present)},
        "references": {"given": known, "unsteered text": len(clips.texts) - known},
        "tried": {
            "candidates": len(sweep.all),
            "no less text than unsteered": sweep.dropped,
            "rounds": [list(clips) for clips in sweep.rounds],
            "survivors": len(outcome.survivors),
            **({"could not be run": outcome.failed} if outcome.failed else {}),
        },
        "chosen": {**_described(candidate), "in_words": candidate.describe(evaluator.recipes)},
    }


def _measured(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    choice = outcome.choice
    candidate = choice.tried.candidate
    found: dict[str, Any] = {
        "unsteered": {mode: _figures(figures) for mode, figures in outcome.unsteered.items()},
        "chosen": {mode: _figures(figures) for mode, figures in choice.tried.figures.items()},
        "cliff": {"gated": _cliff(choice.cliffs.gated), "ungated": _cliff(choice.cliffs.ungated)},
        "margin": {
            "gated": round(choice.margin, 4),
            "ungated": round(choice.cliffs.ungated.margin(candidate.strength), 4),
            "as far as was asked": choice.enough,
        },
    }
    if "clip" in candidate.gate:
        unseen = sweep.evaluator.gates.opened_unseen(candidate.variant.recipe, candidate.margin)
        if unseen is not None:  # with the threshold from other clips, unlike all else here
            found["gate_on_unseen_clips"] = {
                "open_absent": _share_row(unseen[0]),
                "open_present": _share_row(unseen[1]),
            }
    return found


def _listed(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    survived = {id(each) for each in outcome.survivors}
    best = {id(outcome.survivors[i]) for i in front([each.score for each in outcome.survivors])}
    return {
        "budget": asdict(sweep.budget),
        "rounds": [list(clips) for clips in sweep.rounds],
        "unsteered": {mode: _figures(figures) for mode, figures in outcome.unsteered.items()},
        "candidates": [
            {
                **_described(each.candidate),
                "in_words": each.candidate.describe(sweep.evaluator.recipes),
                "round": each.round,
                "clips": list(each.clips),
                "survived": id(each) in survived,
                "on_front": id(each) in best,
                "chosen": each.candidate == outcome.choice.tried.candidate,
                "figures": {mode: _figures(figures) for mode, figures in each.figures.items()},
            }
            for each in sweep.tried.values()
        ],
    }


def _described(candidate: Candidate) -> dict[str, Any]:
    return {
        "recipe": candidate.variant.recipe,
        "kind": candidate.variant.kind,
        "features": candidate.variant.features,
        "strength": candidate.strength,
        "gate": candidate.gate,
        **({} if candidate.margin is None else {"gate_margin": candidate.margin}),
    }


def _figures(figures: Figures) -> dict[str, Any]:
    found = {
        "text": _share_row(figures.text),
        "text_filters_on": _share_row(figures.filtered),
        "words_per_minute": round(figures.words_per_minute, 2),
        "wer": round(100 * figures.wer, 3),
        "wer_change": [round(100 * value, 3) for value in figures.change],
        "blanked": _share_row(figures.blanked),
    }
    if figures.opened is not None:
        found["gate_opened"] = {"absent": _share_row(figures.opened[0]), "present": _share_row(figures.opened[1])}
    return found


def _share_row(found: Share) -> list[float | int]:
    """[hits, clips, low, high], the interval as shares."""
    return [found.hits, found.clips, round(found.low, 5), round(found.high, 5)]


def _cliff(cliff: Cliff) -> dict[str, Any]:
    rungs = [[each.strength, round(each.wer, 3), round(each.blanked, 5)] for each in cliff.rungs]
    return {
        **({} if cliff.strength is None else {"strength": cliff.strength}),
        "highest_tried": cliff.highest,
        "strength_wer_blanked": rungs,
    }
