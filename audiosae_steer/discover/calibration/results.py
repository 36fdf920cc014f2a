"""What calibration leaves: the recipe, a list of everything tried, and a picture of the choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MissingExtraError, RecipeError
from ...evaluate.metrics.rates import Share
from ...io.files import whole, write_whole
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import Recipe
from ..sae_files import place_sae
from .breaking_point import Cliff
from .candidates import Candidate
from .evaluator import Figures
from .gate_thresholds import Mode
from .pareto import front
from .successive_halving import Choice, Sweep, Tried

SPLIT = (
    "chosen and measured on the same clips, gate thresholds placed on them too: what it does on others has to be "
    "measured on others"
)
COLOURS = {"none": "#1f5fa8", "clip": "#1b6e3c", "frame": "#b35c00", "clip+frame": "#7a3b9a"}


class Outcome(NamedTuple):
    """The choice, and what it was chosen among."""

    choice: Choice
    survivors: tuple[Tried, ...]
    unsteered: dict[Mode, Figures]
    odd: dict[str, str]
    """Kinds of edit that could not be run, and why."""
    command: str | None
    data: dict[str, list[str]]
    split: str | None


def compose(sweep: Sweep, outcome: Outcome, name: str | None, out: Path | None) -> Recipe:
    """The recipe of the choice; its SAEs are copied beside `out` where they are files."""
    candidate = outcome.choice.tried.candidate
    arms, number = sweep.arms, candidate.variant.recipe
    base = arms.recipes[number]
    gate = arms.gates.place(number, candidate.margin) if "clip" in candidate.gate else None
    frame_gate = base.frame_gate if "frame" in candidate.gate else None
    used = {spec.sae for spec in (*candidate.variant.sites, gate, frame_gate) if spec is not None and spec.sae}
    specs = {key: spec for key, spec in base.saes.items() if key in used}
    if out is not None:
        specs = {key: _placed(base, key, spec, sweep, number, out.parent) for key, spec in specs.items()}
    described = candidate.describe(arms.recipes)
    recipe = base.model_copy(
        update={
            "name": name or (base.name if out is None else out.stem),
            "description": f"{base.name}, calibrated: {described}.",
            "saes": specs,
            "sites": list(candidate.variant.sites),
            "gate": gate,
            "frame_gate": frame_gate,
            "strength": candidate.strength,
            "provenance": {**base.provenance, "calibrated": _provenance(sweep, outcome)},
            "measured": {"calibrate": _measured(sweep, outcome)},
        }
    )
    return recipe if out is None else recipe.located(out.parent)


def write_files(recipe: Recipe, sweep: Sweep, outcome: Outcome, out: Path) -> None:
    """Write the recipe, and in a folder beside it `candidates.json` and `front.png`.

    Raises:
        RecipeError: a file cannot be written.
    """
    folder = folder_of(out)
    try:
        folder.mkdir(exist_ok=True)
        write_whole(folder / "candidates.json", json.dumps(_listed(sweep, outcome), indent=1) + "\n")
        draw_front(sweep, outcome, folder / "front.png")
        recipe.save(out)
    except OSError as error:
        raise RecipeError(f"cannot write beside {out}: {error.strerror}; choose another folder") from error


def folder_of(out: Path) -> Path:
    """Where the list and the picture of a recipe go: a folder of their own, since they are no recipes."""
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
    scores = [one.score for one in outcome.survivors]
    for gate in dict.fromkeys(one.candidate.gate for one in outcome.survivors):
        own = [one.score for one in outcome.survivors if one.candidate.gate == gate]
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
    plain = sum(one.text.value for one in outcome.unsteered.values()) / len(outcome.unsteered)
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
        + (", worst mode" * (len(sweep.arms.modes) > 1))
    )
    axes.set_ylabel("clips without speech with text, %")
    clips = outcome.choice.tried.clips
    axes.set_title(
        f"{outcome.choice.tried.candidate.describe(sweep.arms.recipes)}\n"
        f"{clips[0]} clips without and {clips[1]} with speech; {len(scores)} of {len(sweep.all)} candidates survived",
        fontsize=9.5,
    )
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    with whole(path) as part:
        figure.savefig(part, dpi=130, format="png")


def _placed(base: Recipe, key: str, spec: SAESpec, sweep: Sweep, number: int, folder: Path) -> SAESpec:
    if spec.file is None or base.folder is None:
        return spec
    layers = [site.layer for site in base.sites if site.sae == key]
    source = base.folder / spec.file
    if source.parent.resolve() == folder.resolve():
        return spec
    return place_sae(sweep.arms.saes[number][key], source, layers[0] if layers else 0, folder)


def _provenance(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    settings, arms = sweep.settings, sweep.arms
    known = sum(text is not None for text in arms.material.texts)
    candidate = outcome.choice.tried.candidate
    return {
        **({"command": outcome.command} if outcome.command else {}),
        "from": [recipe.name for recipe in arms.recipes],
        "budget": sweep.budget._asdict(),
        "settings": {**settings._asdict(), "breaks": settings.breaks._asdict()},
        "split": f"{outcome.split}; {SPLIT}" if outcome.split else SPLIT,
        **({"data": outcome.data} if outcome.data else {}),
        "clips": {"absent": len(arms.material.absent), "present": len(arms.material.present)},
        "references": {"given": known, "unsteered text": len(arms.material.texts) - known},
        "tried": {
            "candidates": len(sweep.all),
            "no less text than unsteered": sweep.dropped,
            "rounds": [list(clips) for clips in sweep.rounds],
            "survivors": len(outcome.survivors),
            **({"could not be run": outcome.odd} if outcome.odd else {}),
        },
        "chosen": {**_described(candidate), "in_words": candidate.describe(arms.recipes)},
    }


def _measured(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    choice = outcome.choice
    candidate = choice.tried.candidate
    found: dict[str, Any] = {
        "unsteered": {mode: _plain(figures) for mode, figures in outcome.unsteered.items()},
        "chosen": {mode: _plain(figures) for mode, figures in choice.tried.figures.items()},
        "cliff": {"gated": _cliff(choice.cliffs.gated), "ungated": _cliff(choice.cliffs.ungated)},
        "margin": {
            "gated": round(choice.margin, 4),
            "ungated": round(choice.cliffs.ungated.margin(candidate.strength), 4),
            "as far as was asked": choice.enough,
        },
    }
    if "clip" in candidate.gate:
        unseen = sweep.arms.gates.opened_unseen(candidate.variant.recipe, candidate.margin)
        if unseen is not None:  # with the threshold from other clips, unlike all else here
            found["gate_on_unseen_clips"] = {
                "open_absent": _share(unseen[0]),
                "open_present": _share(unseen[1]),
            }
    return found


def _listed(sweep: Sweep, outcome: Outcome) -> dict[str, Any]:
    survived = {id(one) for one in outcome.survivors}
    best = {id(outcome.survivors[i]) for i in front([one.score for one in outcome.survivors])}
    return {
        "budget": sweep.budget._asdict(),
        "rounds": [list(clips) for clips in sweep.rounds],
        "unsteered": {mode: _plain(figures) for mode, figures in outcome.unsteered.items()},
        "candidates": [
            {
                **_described(one.candidate),
                "in_words": one.candidate.describe(sweep.arms.recipes),
                "round": one.round,
                "clips": list(one.clips),
                "survived": id(one) in survived,
                "on_front": id(one) in best,
                "chosen": one.candidate == outcome.choice.tried.candidate,
                "figures": {mode: _plain(figures) for mode, figures in one.figures.items()},
            }
            for one in sweep.tried.values()
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


def _plain(figures: Figures) -> dict[str, Any]:
    found = {
        "text": _share(figures.text),
        "text_filters_on": _share(figures.filtered),
        "words_per_minute": round(figures.words_per_minute, 2),
        "wer": round(100 * figures.wer, 3),
        "wer_change": [round(100 * value, 3) for value in figures.change],
        "blanked": _share(figures.blanked),
    }
    if figures.opened is not None:
        found["gate_opened"] = {"absent": _share(figures.opened[0]), "present": _share(figures.opened[1])}
    return found


def _share(found: Share) -> list[float | int]:
    """[clips it holds of, clips, low, high], the interval as shares."""
    return [found.hits, found.clips, round(found.low, 5), round(found.high, 5)]


def _cliff(cliff: Cliff) -> dict[str, Any]:
    rungs = [[one.strength, round(one.wer, 3), round(one.blanked, 5)] for one in cliff.rungs]
    return {
        **({} if cliff.strength is None else {"strength": cliff.strength}),
        "highest_tried": cliff.highest,
        "strength_wer_blanked": rungs,
    }
