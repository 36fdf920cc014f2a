"""Commands that find edits: `discover` and `learn`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer

from ..discover.contrast.settings import STEADY, DiscoverSettings, LabelledSources
from ..discover.learning.settings import LearnSettings
from ..discover.recipe_output import RecipeOutput
from .console import ModelOption, command, progress, say
from .options import Options, with_settings

FEW = 20
"""Held-out clips of a kind below which the 95 % interval of an AUC of 0.8 reaches more than 0.14 to either side."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clips with and without a concept."""

    present: tuple[Path, ...] = ()
    """Clips with the concept: folder, file, or .txt list; repeatable."""
    absent: tuple[Path, ...] = ()
    """Clips without it; repeatable."""
    labels: Path | None = None
    """CSV with columns file,label in place of the two; a column group may follow."""
    audio: Path | None = None
    """Folder that the CSV's files are in; default: the CSV's."""
    positive: str | None = None
    """Label of the clips with the concept; default: 1."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Name of the recipe, and what can be used again."""

    cache: Path | None = None
    """Folder for what can be used again; default: beside --out."""
    name: str | None = None
    """Name of the recipe; default: that of --out."""


@with_settings(
    Options(defaults=Clips(), parameter="clips"),
    Options(
        defaults=DiscoverSettings(),
        help={
            "amount": "add: typical activations; scale: factor; clamp: mean peaks without the concept",
            "target": "labels; or what the model itself does on --absent: text, words, no_speech_prob",
        },
    ),
    Options(defaults=Kept(), parameter="kept"),
)
def discover(
    sae: Annotated[str, typer.Option(help="the SAE: file, folder, or user/repo on the Hub")],
    layer: Annotated[int, typer.Option(help="encoder layer that it reads, counted from 1")],
    out: Annotated[Path, typer.Option(help="the recipe to write, .json; a table and a page come beside it")],
    clips: Clips,
    settings: DiscoverSettings,
    kept: Kept,
    model: ModelOption = "tiny.en",
    report: Annotated[bool, typer.Option(help="write the page")] = True,
) -> None:
    """Find the features that tell a concept, and write a recipe that edits them. Interrupted, it resumes."""
    from ..discover.contrast.discover import discover as find_recipe

    sources = LabelledSources(
        present=clips.present, absent=clips.absent, labels=clips.labels, audio=clips.audio, positive=clips.positive
    )
    output = RecipeOutput(path=out, name=kept.name, cache=kept.cache, command=command())
    with progress() as tell:
        recipe = find_recipe(
            model, sae, layer, sources, out=output, settings=settings, report=report, progress=tell
        )  # fmt: skip
    held = recipe.measured["held_out"]
    low, high = held["probe_auc_interval"]
    count = len(recipe.sites[0].edits[0]["features"])
    clips_held = recipe.provenance["split"]["clips"]["held_out"]
    on = f"{clips_held['with']} held-out clips with the concept and {clips_held['without']} without"
    say(f"{count} features; on {on}, together AUC {held['probe_auc']:.3f} [{low:.3f}, {high:.3f}]")
    best, chance = held["best_feature_auc"], held["random_features_auc"]
    say(f"feature {held['best_feature']} alone {best:.3f}; as many random ones {chance:.3f}")
    say(_stability(recipe.measured["features"]["stability"], settings.resamples))
    if min(clips_held.values()) < FEW:
        say(
            f"fewer than {FEW} held-out clips of a kind: other clips may well give another AUC; give more, if there are"
        )
    say(f"wrote {out}" + (f" and {out.with_suffix('.html')}" if report else ""))


def _stability(found: Sequence[float], resamples: int) -> str:
    """A line on how often the features are found again."""
    if not resamples:
        return "stability: not measured (--resamples 0)"
    steady = sum(each >= STEADY for each in found)
    return (
        f"stability: found again in {mean(found):.0%} of {resamples} resamples on average; {steady} of {len(found)} "
        f"in {STEADY:.0%} or more"
    )


@with_settings(
    Options(
        defaults=LearnSettings(),
        hidden=("lr", "l1", "start", "uncut", "enough", "untimed", "batch", "check", "languages", "synthetic"),
        help={"keep": "weight of leaving speech unchanged, against silence"},
    ),
    Options(defaults=Kept(), parameter="kept"),
)
def learn(
    layer: Annotated[int, typer.Option(help="encoder layer to add to, counted from 1")],
    absent: Annotated[list[str], typer.Option(help="clips without speech: folder, file, list or hub:…; repeatable")],
    present: Annotated[list[str], typer.Option(help="clips with speech; repeatable")],
    out: Annotated[Path, typer.Option(help="the recipe to write, .json")],
    settings: LearnSettings,
    kept: Kept,
    sae: Annotated[str | None, typer.Option(help="file, folder or Hub id; without: a dense vector")] = None,
    model: ModelOption = "tiny.en",
) -> None:
    """Learn constant edits that silence a Whisper on non-speech. Clips that are encoded already are used again."""
    from ..discover.learning.learn import learn as learn_recipe

    output = RecipeOutput(path=out, name=kept.name, cache=kept.cache, command=command())
    recipe = learn_recipe(model, sae, layer, absent, present, out=output, settings=settings)
    held = recipe.measured["held_out"]
    say(recipe.description)
    say(f"on held-out clips: text on {held['text']:.1%} without speech; of speech, {held['words_changed']:.2%} of the "
        f"words written otherwise, {held['blanked']:.1%} of the clips lost")  # fmt: skip
    say(f"wrote {out}; next: audiosae-steer calibrate")
