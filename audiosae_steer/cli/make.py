"""Commands that calibrate recipes, and make them from nothing: `calibrate` and `make`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..discover.calibration.settings import BreakCriterion, Budget, CalibrateSettings, CalibrationOutput, modes_of
from ..discover.learning.settings import LearnSettings
from ..discover.pipeline.settings import CANDIDATES, TEST, MakeOutput, MakeSettings
from ..errors import SteeringError
from .console import ModelOption, command, progress, say
from .options import Options, with_settings


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Clips for the three purposes."""

    absent: tuple[str, ...] = ("hub:esc50",)
    """Clips without speech: folder, file, list or hub:…; repeatable; default: hub:esc50."""
    present: tuple[str, ...] = ("hub:librispeech-test-clean",)
    """Clips with speech; repeatable; default: hub:librispeech-test-clean."""
    calibrate_absent: tuple[str, ...] = ()
    """Other clips to calibrate on; repeatable; default: a fifth of --absent."""
    calibrate_present: tuple[str, ...] = ()
    """Other clips to calibrate on; repeatable; default: a fifth of --present."""
    test_absent: tuple[str, ...] = ()
    """Other clips to test on; repeatable; default: a fifth of --absent."""
    test_present: tuple[str, ...] = ()
    """Other clips to test on; repeatable; default: a fifth of --present."""


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """Settings that reach into those of single stages."""

    sae_steps: int = MakeSettings().sae.steps
    """Steps of training an SAE."""
    refine: int | None = None
    """Steps of learning with the chosen features alone; default: half of --steps."""
    strength: tuple[float, ...] = CANDIDATES.strengths
    """Strength to try; repeatable; default: 0.5 to 1.5."""
    wer: float = Budget().wer
    """Budget: points of word error rate, loops capped."""
    blanked: float = Budget().blanked
    """Budget: share of speech clips that may lose their text."""
    language: str | None = TEST.language
    """Language code, or auto to let a multilingual model detect it."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """SAE to start from, its layer, and the cache of the stages."""

    sae: str | None = None
    """File, folder or Hub id; without: one is trained."""
    layer: int | None = None
    """Encoder layer, counted from 1; default: the SAE's, or the last."""
    cache: Path | None = None
    """Folder for the stages' results; default: .work in --out."""


@with_settings(
    Options(defaults=Sources(), parameter="sources"),
    Options(
        defaults=MakeSettings(), none={"most": 0},
        hidden=("shares", "sae", "learn", "margin", "budget", "calibrate", "test"),
        help={
            "most": "most clips to take of each source; 0 takes all", "synthetic": "synthetic noises to add",
            "sae_features": "size of the SAE that is trained; default: 8 × width, 4096 at most",
        },
    ),
    Options(
        defaults=LearnSettings(), parameter="learning",
        hidden=tuple({*LearnSettings.__dataclass_fields__} - {"features", "steps", "decoder"}),
    ),
    Options(defaults=Start(), parameter="start"),
    Options(defaults=Adjusted(), parameter="adjusted", none={"language": "auto"}),
)  # fmt: skip
def make(
    task: Annotated[str, typer.Argument(help="what to make a recipe for: no-false-speech")],
    out: Annotated[Path, typer.Option(help="folder for the recipes, the SAE, the card and what was measured")],
    sources: Sources,
    settings: MakeSettings,
    learning: LearnSettings,
    start: Start,
    adjusted: Adjusted,
    model: ModelOption = "tiny.en",
) -> None:
    """Make a recipe from nothing: data, SAE, edits, gates, calibration, test. Interrupted, it resumes."""
    from ..data.partitions import PartitionSources
    from ..discover.pipeline.make import TASKS, make_no_false_speech

    if task not in TASKS:
        raise SteeringError(f"there is no task {task!r} to make a recipe for; expected {', '.join(TASKS)}")
    refine = learning.steps // 2 if adjusted.refine is None else adjusted.refine
    make_no_false_speech(
        model,
        out=MakeOutput(folder=out, cache=start.cache, command=command(), bars=progress),
        absent=PartitionSources(sources.absent, sources.calibrate_absent, sources.test_absent),
        present=PartitionSources(sources.present, sources.calibrate_present, sources.test_present),
        sae=start.sae,
        layer=start.layer,
        settings=replace(
            settings,
            sae=replace(settings.sae, steps=adjusted.sae_steps),
            learn=replace(learning, refine=refine, seed=settings.seed),
            budget=Budget(wer=adjusted.wer, blanked=adjusted.blanked),
            calibrate=replace(settings.calibrate, seed=settings.seed, strengths=adjusted.strength),
            test=replace(settings.test, language=adjusted.language, seed=settings.seed),
        ),
        say=say,
    )
    say(f"wrote {out}; what it does is in {out / 'README.md'}. These lines work now:")
    say("")
    say(f'  model = audiosae_steer.load_whisper("{model}")')
    say(f'  audiosae_steer.steer(model, "{out / task}.json")')


@dataclass(frozen=True, kw_only=True)
class Given:
    """Clips' texts and number, and the recipe's names."""

    text: Path | None = None
    """Texts of the clips with speech: columns file and text, divided by tabs."""
    break_wer: float = BreakCriterion().wer
    """Speech counts as broken above so many points."""
    modes: Literal["timed", "untimed", "both"] = "timed"
    """Decoding: timed (timestamps), untimed, both."""
    most: int | None = None
    """Most clips to take of each source."""
    split: str | None = None
    """Relation of these clips to those used before."""
    cache: Path | None = None
    """Folder for encoded clips, texts; default: beside --out."""
    name: str | None = None
    """Name of the recipe; default: that of --out."""


@with_settings(
    Options(defaults=Budget(), parameter="budget"),
    Options(
        defaults=CalibrateSettings(), none={"language": "auto"}, hidden=("modes", "breaks", "cliff_clips", "batch"),
        names={"kinds": "kind", "strengths": "strength", "shares": "share", "gate_margins": "gate-margin"},
        help={
            "kinds": "as written, typical, ablate, clamp, push; repeatable; default: all",
            "strengths": "strength to try; repeatable; default: 0.25 to 3",
            "shares": "share of the features; repeatable; default: 1 to 1/8",
            "gates": "none, clip, frame, clip+frame; repeatable",
            "gate_margins": "clip gate's threshold, from speech (0) to noise (1); repeatable",
            "margin": "how many times the strength its cliff has to be away",
            "near": "points of text within which the margin decides",
            "language": "language code, or auto to detect it",
        },
    ),
    Options(defaults=Given(), parameter="given"),
)  # fmt: skip
def calibrate(
    recipes: Annotated[list[str], typer.Argument(help="recipes to vary: by name, path or Hub id")],
    absent: Annotated[list[str], typer.Option(help="clips without speech: folder, file, list or hub:…; repeatable")],
    present: Annotated[list[str], typer.Option(help="clips with speech; repeatable")],
    out: Annotated[Path, typer.Option(help="the recipe to write, .json; a folder with the picture comes beside it")],
    budget: Budget,
    settings: CalibrateSettings,
    given: Given,
    model: ModelOption = "tiny.en",
) -> None:
    """Choose kind of edit, features, strength and gate within a budget on speech. Interrupted, it resumes."""
    from ..data.clips import load_clips
    from ..discover.calibration.calibrate import calibrate as choose
    from ..discover.calibration.calibrate import reference_texts
    from ..models.load import load_whisper
    from ..steering.recipes.load import load_recipe

    for each in recipes:  # a name is looked up with the model, and a file that is not there costs no minute of clips
        if each.endswith(".json"):
            load_recipe(each)
    cache = given.cache or out.parent / f"{out.stem}-cache"
    output = CalibrationOutput(path=out, name=given.name, cache=cache, command=command(), split=given.split)
    chosen = replace(settings, modes=modes_of(given.modes), breaks=BreakCriterion(wer=given.break_wer))
    noise, speech = (load_clips(each, most=given.most, seed=settings.seed) for each in (absent, present))
    texts = speech.texts if given.text is None else reference_texts(speech, given.text)
    loaded = load_whisper(model, library="openai")
    data = {name: [Path(n).name for n in each.sources] for name, each in (("absent", noise), ("present", speech))}
    with progress() as tell:
        found = choose(
            loaded, recipes, noise.samples, speech.samples, texts, budget, settings=chosen,
            out=replace(output, data=data, progress=tell),
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
    if found.margin < chosen.margin:
        say(f"no strength within reach has the margin {chosen.margin:g} that was asked for")
    say(f"wrote {out}")
