"""The commands that make recipes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import SteeringError
from .console import ModelOption, progress, say

SourcesOption = list[Path] | None
DecoderOption = Annotated[
    Literal["none", "all", "first"],
    typer.Option(help="learn a vector after each decoder layer, too, for all tokens or for a text's first one"),
]


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
    from ..discover.contrast.discover import discover as find_recipe
    from ..discover.contrast.settings import DiscoverSettings, LabelledSources
    from ..discover.recipe_output import RecipeOutput

    given: dict[str, Any] = {
        "rank": rank, "pool": pool, "top": top, "edit": edit, "amount": amount, "target": target, "tau": tau,
        "pad": pad, "frames": frames, "groups": groups, "held_out": held_out, "resamples": resamples, "seed": seed,
    }  # fmt: skip
    clips = LabelledSources(
        present=present or (), absent=absent or (), labels=labels, audio=audio, positive=positive
    )  # fmt: skip
    settings = DiscoverSettings(**given)
    output = RecipeOutput(path=out, name=name, cache=cache, command=command())
    with progress() as tell:
        recipe = find_recipe(
            model, sae, layer, clips, out=output, settings=settings, report=report, progress=tell
        )  # fmt: skip
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
    refine: Annotated[int, typer.Option(help="steps with these features alone")] = 150,
    decoder: DecoderOption = "none",
    keep: Annotated[float, typer.Option(help="weight of keeping speech as it is, against silence")] = 20.0,
    most: Annotated[int | None, typer.Option(help="most clips to take of each source")] = None,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder for encoded clips; default: beside --out")] = None,
    name: Annotated[str | None, typer.Option(help="the recipe's name; default: that of --out")] = None,
) -> None:
    """Learn constant edits that keep a Whisper silent where nobody speaks. Clips that are encoded are not again."""
    from ..discover.learning.learn import learn as learn_recipe
    from ..discover.learning.settings import LearnSettings
    from ..discover.recipe_output import RecipeOutput

    settings = LearnSettings(
        features=features, steps=steps, refine=refine, decoder=decoder, keep=keep, seed=seed, most=most
    )  # fmt: skip
    output = RecipeOutput(path=out, name=name, cache=cache, command=command())
    recipe = learn_recipe(model, sae, layer, absent, present, out=output, settings=settings)
    held = recipe.measured["held_out"]
    say(recipe.description)
    say(f"on held-out clips: text on {held['text']:.1%} without speech; of speech, {held['words_changed']:.2%} of the "
        f"words written otherwise, {held['blanked']:.1%} of the clips lost")  # fmt: skip
    say(f"wrote {out}; next: audiosae-steer calibrate")


def make(
    task: Annotated[str, typer.Argument(help="what to make a recipe for: no-false-speech")],
    out: Annotated[Path, typer.Option(help="folder for the recipes, the SAE, the card and what was measured")],
    model: ModelOption = "tiny.en",
    sae: Annotated[str | None, typer.Option(help="file, folder or Hub id; without: one is trained")] = None,
    layer: Annotated[
        int | None, typer.Option(help="encoder layer, counted from 1; default: the SAE's, or the last")
    ] = None,
    absent: Annotated[
        list[str] | None, typer.Option(help="clips in which nobody speaks: folder, file, list or hub:…; repeatable")
    ] = None,
    present: Annotated[list[str] | None, typer.Option(help="clips in which somebody does; repeatable")] = None,
    calibrate_absent: Annotated[
        list[str] | None, typer.Option(help="other clips to calibrate on; default: a fifth of --absent; repeatable")
    ] = None,
    calibrate_present: Annotated[list[str] | None, typer.Option(help="likewise; repeatable")] = None,
    test_absent: Annotated[
        list[str] | None, typer.Option(help="other clips to test on; default: a fifth of --absent; repeatable")
    ] = None,
    test_present: Annotated[list[str] | None, typer.Option(help="likewise; repeatable")] = None,
    most: Annotated[int, typer.Option(help="most clips to take of each source; 0 takes all")] = 800,
    features: Annotated[int, typer.Option(help="most features that the recipe may edit")] = 64,
    steps: Annotated[int, typer.Option(help="steps of learning with all features free, twice half with fewer")] = 300,
    sae_features: Annotated[
        int | None, typer.Option(help="size of the SAE that is trained; default: 8 × width, 4096 at most")
    ] = None,
    sae_steps: Annotated[int, typer.Option(help="steps of training it")] = 3000,
    synthetic: Annotated[int, typer.Option(help="synthetic noises to add")] = 80,
    refine: Annotated[int | None, typer.Option(help="steps with these alone; default: half of --steps")] = None,
    decoder: DecoderOption = "none",
    contrast: Annotated[bool, typer.Option(help="find a recipe by contrast, too, to compare with")] = False,
    frame_gate: Annotated[bool, typer.Option(help="fit a frame gate beside the clip gate")] = True,
    strength: Annotated[
        list[float] | None, typer.Option(help="strength to try; repeatable; default: 0.5 to 1.5")
    ] = None,
    wer: Annotated[float, typer.Option(help="budget: points of word error rate, loops capped")] = 0.1,
    blanked: Annotated[float, typer.Option(help="budget: share of speech clips that may lose their text")] = 0.005,
    language: Annotated[str, typer.Option(help="code, or auto to let a multilingual model detect it")] = "en",
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder for the stages' results; default: .work in --out")] = None,
) -> None:
    """From nothing to a recipe: data, SAE, edits, gates, calibration, test. Interrupted, it goes on."""
    from dataclasses import replace

    from ..data.partitions import PartitionSources
    from ..discover.pipeline.make import TASKS, make_no_false_speech
    from ..discover.pipeline.settings import MakeSettings

    if task not in TASKS:
        raise SteeringError(f"there is no task {task!r} to make a recipe for; expected {', '.join(TASKS)}")
    plain = MakeSettings()
    settings = plain._replace(
        most=most or None,
        synthetic=synthetic,
        sae=replace(plain.sae, steps=sae_steps),
        sae_features=sae_features,
        learn=replace(
            plain.learn,
            features=features,
            steps=steps,
            refine=steps // 2 if refine is None else refine,
            decoder=decoder,
            seed=seed,
        ),
        contrast=contrast,
        frame_gate=frame_gate,
        budget=plain.budget._replace(wer=wer, blanked=blanked),
        calibrate=plain.calibrate._replace(seed=seed, strengths=tuple(strength or plain.calibrate.strengths)),
        test=replace(plain.test, language=None if language == "auto" else language, seed=seed),
        seed=seed,
    )
    make_no_false_speech(
        model,
        out=out,
        absent=PartitionSources(absent or ("hub:esc50",), calibrate_absent or (), test_absent or ()),
        present=PartitionSources(
            present or ("hub:librispeech-test-clean",), calibrate_present or (), test_present or ()
        ),
        sae=sae,
        layer=layer,
        settings=settings,
        cache=cache,
        command=command(),
        say=say,
        bars=progress,
    )
    say(f"wrote {out}; what it does is in {out / 'README.md'}. These lines work now:")
    say("")
    say(f'  model = audiosae_steer.load_whisper("{model}")')
    say(f'  audiosae_steer.steer(model, "{out / task}.json")')


def calibrate(
    recipes: Annotated[list[str], typer.Argument(help="recipes to vary: by name, path or Hub id")],
    absent: Annotated[list[str], typer.Option(help="clips without speech: folder, file, list or hub:…; repeatable")],
    present: Annotated[list[str], typer.Option(help="clips with speech; repeatable")],
    out: Annotated[Path, typer.Option(help="the recipe to write, .json; a folder with the picture comes beside it")],
    model: ModelOption = "tiny.en",
    text: Annotated[Path | None, typer.Option(help="what is said: columns file and text, divided by tabs")] = None,
    wer: Annotated[float, typer.Option(help="budget: points of word error rate above unsteered, loops capped")] = 0.1,
    blanked: Annotated[float, typer.Option(help="budget: share of speech clips that may lose all their text")] = 0.005,
    margin: Annotated[float, typer.Option(help="how many times the strength its cliff has to be away")] = 1.25,
    near: Annotated[float, typer.Option(help="points of text within which the margin decides")] = 1.0,
    break_wer: Annotated[float, typer.Option(help="speech counts as broken above so many points")] = 1.0,
    modes: Annotated[str, typer.Option(help="decoding: timed (timestamps), untimed, both")] = "timed",
    kind: Annotated[
        list[str] | None, typer.Option(help="as written, typical, ablate, clamp, push; repeatable; default: all")
    ] = None,
    strength: Annotated[list[float] | None, typer.Option(help="repeatable; default: 0.25 to 3")] = None,
    share: Annotated[list[float] | None, typer.Option(help="of the features; repeatable; default: 1 to 1/8")] = None,
    gates: Annotated[list[str] | None, typer.Option(help="none, clip, frame, clip+frame; repeatable")] = None,
    gate_margin: Annotated[
        list[float] | None, typer.Option(help="clip gate's threshold, from speech (0) to noise (1); repeatable")
    ] = None,
    first: Annotated[int, typer.Option(help="clips of each kind in the first round")] = 16,
    most: Annotated[int | None, typer.Option(help="most clips to take of each source")] = None,
    language: Annotated[str, typer.Option(help="code, or auto to detect it")] = "en",
    split: Annotated[str | None, typer.Option(help="how these clips relate to those used before")] = None,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder for encoded clips, texts; default: beside --out")] = None,
    name: Annotated[str | None, typer.Option(help="the recipe's name; default: that of --out")] = None,
) -> None:
    """Choose kind of edit, features, strength and gate within a budget on speech. Interrupted, it goes on."""
    from ..data.clips import load_clips
    from ..discover.calibration.breaking_point import Break
    from ..discover.calibration.calibrate import calibrate as choose
    from ..discover.calibration.calibrate import check_target, modes_of, texts_of
    from ..discover.calibration.pareto import Budget
    from ..discover.calibration.successive_halving import CalibrateSettings
    from ..models.load import load_whisper

    check_target(out)
    given: dict[str, Any] = {
        "kinds": kind, "strengths": strength, "shares": share, "gates": gates, "gate_margins": gate_margin,
    }  # fmt: skip
    lists: dict[str, Any] = {key: tuple(values) for key, values in given.items() if values}
    settings = CalibrateSettings(
        modes=modes_of(modes),
        first=first,
        near=near,
        margin=margin,
        breaks=Break(wer=break_wer),
        language=None if language == "auto" else language,
        seed=seed,
        **lists,
    )
    noise, speech = load_clips(absent, most=most, seed=seed), load_clips(present, most=most, seed=seed)
    texts = speech.texts if text is None else texts_of(speech, text)
    loaded = load_whisper(model, library="openai")
    with progress() as tell:
        found = choose(
            loaded, recipes, noise.samples, speech.samples, texts, Budget(wer, blanked), settings=settings, out=out,
            name=name, cache=cache or out.parent / f"{out.stem}-cache", command=command(), split=split, progress=tell,
            data={"absent": [Path(n).name for n in noise.sources], "present": [Path(n).name for n in speech.sources]},
        )  # fmt: skip
    say(found.recipe.description)
    for mode, figures in found.figures.items():
        change, low, high = (f"{100 * value:+.2f}" for value in figures.change)
        say(f"{mode}: text on {figures.text} without speech, unsteered {found.unsteered[mode].text}")
        say(f"{mode}: WER {change} points [{low}, {high}]; {figures.blanked} of speech blanked")
    unknown = sum(one is None for one in texts)
    if unknown:
        say(f"no text is known of {unknown} of {len(texts)} clips: their WER is against the unsteered model's text")
    say(f"speech breaks at strength {found.cliff.gated}; margin {found.margin:.2f}; ungated {found.cliff.ungated}")
    if found.margin < margin:
        say(f"no strength within reach has the margin {margin:g} that was asked for")
    say(f"wrote {out}")


def command() -> str:
    """This command as it was typed, without the folders, which differ from machine to machine."""
    return "audiosae-steer " + " ".join(Path(arg).name if os.sep in arg else arg for arg in sys.argv[1:])
