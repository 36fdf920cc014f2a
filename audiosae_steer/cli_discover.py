"""The commands that make recipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_shared import ModelOption, progress, say

SourcesOption = list[Path] | None


def discover(
    sae: Annotated[str, typer.Option(help="the SAE: file, folder, or user/repo on the Hub")],
    layer: Annotated[int, typer.Option(help="encoder layer that it reads, counted from 1")],
    out: Annotated[Path, typer.Option(help="the recipe to write, .json; a table and a page come beside it")],
    model: ModelOption = "tiny.en",
    present: Annotated[
        SourcesOption, typer.Option(help="clips with the concept: folder, file, or .txt list; repeatable")
    ] = None,
    absent: Annotated[SourcesOption, typer.Option(help="clips without it; repeatable")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV with columns file,label in place of the two; a column group may follow")
    ] = None,
    audio: Annotated[Path | None, typer.Option(help="folder that the CSV's files are in; default: the CSV's")] = None,
    positive: Annotated[str | None, typer.Option(help="label of the clips with the concept; default: 1")] = None,
    target: Annotated[
        str, typer.Option(help="labels; or what the model itself does on --absent: text, words, no_speech_prob")
    ] = "labels",
    tau: Annotated[float, typer.Option(help="with no_speech_prob: below it is the concept")] = 0.6,
    rank: Annotated[str, typer.Option(help="fisher, l1, l2 (logistic regressions), difference (of means)")] = "fisher",
    pool: Annotated[str, typer.Option(help="over a clip's frames: max, mean, nonzero_mean")] = "max",
    top: Annotated[int, typer.Option(help="features to edit")] = 25,
    edit: Annotated[str, typer.Option(help="add, ablate, scale, clamp")] = "add",
    amount: Annotated[
        float | None,
        typer.Option(help="add: typical activations; scale: factor; clamp: mean peaks without the concept"),
    ] = None,
    pad: Annotated[str, typer.Option(help="how clips are filled up to 30 s: zeros, silence, both")] = "both",
    frames: Annotated[str, typer.Option(help="pool over the clip's own frames, audio, or all 30 s, window")] = "audio",
    groups: Annotated[
        str, typer.Option(help="what the split keeps together: pieces of one recording, by name, or each file alone")
    ] = "recording",
    held_out: Annotated[float, typer.Option(help="share of the recordings to hold out")] = 0.3,
    resamples: Annotated[int, typer.Option(help="bootstrap resamples for the stability")] = 50,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder for pooled features; default: beside --out")] = None,
    name: Annotated[str | None, typer.Option(help="the recipe's name; default: that of --out")] = None,
    report: Annotated[bool, typer.Option(help="write the page")] = True,
) -> None:
    """Find the features that tell a concept, and write a recipe that edits them. Interrupted, it goes on."""
    from .discover.contrast import discover as find_recipe
    from .discover.found import DiscoverSettings

    given: dict[str, Any] = {
        "rank": rank, "pool": pool, "top": top, "edit": edit, "amount": amount, "target": target, "tau": tau,
        "pad": pad, "frames": frames, "groups": groups, "held_out": held_out, "resamples": resamples, "seed": seed,
    }  # fmt: skip
    with progress() as tell:
        recipe = find_recipe(
            model,
            sae,
            layer,
            present or (),
            absent or (),
            out=out,
            labels=labels,
            audio=audio,
            positive=positive,
            settings=DiscoverSettings(**given),
            name=name,
            cache=cache,
            command=command(),
            report=report,
            progress=tell,
        )
    held = recipe.measured["held_out"]
    low, high = held["probe_auc_interval"]
    count = len(recipe.sites[0].edits[0]["features"])
    say(f"{count} features; on held-out clips together AUC {held['probe_auc']:.3f} [{low:.3f}, {high:.3f}]")
    best, chance = held["best_feature_auc"], held["random_features_auc"]
    say(f"feature {held['best_feature']} alone {best:.3f}; as many random ones {chance:.3f}")
    say(f"wrote {out}" + (f" and {out.with_suffix('.html')}" if report else ""))


def learn(
    layer: Annotated[int, typer.Option(help="encoder layer to add to, counted from 1")],
    absent: Annotated[list[str], typer.Option(help="clips without speech: folder, file, list or hub:…; repeatable")],
    present: Annotated[list[str], typer.Option(help="clips with speech; repeatable")],
    out: Annotated[Path, typer.Option(help="the recipe to write, .json")],
    sae: Annotated[str | None, typer.Option(help="file, folder or Hub id; without: a dense vector")] = None,
    model: ModelOption = "tiny.en",
    features: Annotated[int, typer.Option(help="most features that the recipe may use")] = 64,
    steps: Annotated[int, typer.Option(help="steps with all features free")] = 300,
    refine: Annotated[int, typer.Option(help="steps with fewer, twice")] = 150,
    keep: Annotated[float, typer.Option(help="weight of keeping speech as it is, against silence")] = 10.0,
    most: Annotated[int | None, typer.Option(help="most clips to take of each source")] = None,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder for encoded clips; default: beside --out")] = None,
    name: Annotated[str | None, typer.Option(help="the recipe's name; default: that of --out")] = None,
) -> None:
    """Learn constant edits that keep a Whisper silent where nobody speaks. Clips that are encoded are not again."""
    from .discover.amounts import LearnSettings
    from .discover.learning import learn as learn_recipe

    settings = LearnSettings(features=features, steps=steps, refine=refine, keep=keep, seed=seed)
    recipe = learn_recipe(
        model, sae, layer, absent, present, out=out, settings=settings, most=most, name=name, cache=cache,
        command=command(),
    )  # fmt: skip
    held = recipe.measured["held_out"]
    say(recipe.description)
    say(f"on held-out clips: text on {held['text']:.1%} without speech; of speech, {held['words_changed']:.2%} of the "
        f"words written otherwise, {held['blanked']:.1%} of the clips lost")  # fmt: skip
    say(f"wrote {out}; next: audiosae-steer calibrate")


def command() -> str:
    """This command as it was typed, without the folders, which differ from machine to machine."""
    return "audiosae-steer " + " ".join(Path(arg).name if os.sep in arg else arg for arg in sys.argv[1:])
