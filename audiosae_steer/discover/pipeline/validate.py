"""Stages that choose and test: calibration, the benchmark, and the folder that is delivered."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...data.audio import Samples
from ...data.clips import ClipSet
from ...errors import SteeringError
from ...evaluate.benchmark.bench_clips import BenchClip
from ...evaluate.benchmark.report import write_report
from ...evaluate.benchmark.results import BenchResults
from ...evaluate.benchmark.run import run_bench
from ...evaluate.benchmark.settings import BenchData, BenchSettings, Recipes
from ...io.files import atomic_file, write_atomic
from ...publishing.calibration_card import write_card
from ...publishing.measured_table import measured_rows
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ..calibration.calibrate import calibrate
from ..calibration.settings import CalibrationOutput, Gating
from .settings import NAME, UNGATED
from .stage_context import StageContext, vary_side

REFUSED = "refused.txt"
VAD = "vad-0.5"


def calibrate_recipes(context: StageContext, gated: Path, baseline: Path | None) -> tuple[Path, Path]:
    """Run the stages that calibrate recipes with gates and without.

    Args:
        context: the shared inputs.
        gated: file of the learned recipe with its gates.
        baseline: file of the recipe by contrast, if there is one.

    Returns:
        Folders of the recipe with gates, and of the one without, which holds only the reason where none keeps the
        budget.
    """
    settings = context.settings
    inputs = [gated.parent, context.clips.calibrate.key, settings.budget, settings.calibrate, settings.test.language]
    others = [] if baseline is None else [baseline.parent]
    with_gates = context.stages.run("calibrate", inputs, partial(_calibrate, context, NAME, [gated]))
    recipes = [gated] if baseline is None else [gated, baseline]
    without = partial(_calibrate_ungated, context, recipes)
    return with_gates, context.stages.run("calibrate without gates", [*inputs, *others], without)


def _calibrate(context: StageContext, name: str, recipes: list[Path], folder: Path) -> None:
    """Write the recipe that is chosen among variants of others, with gates or without, by its name."""
    settings, side = context.settings, context.clips.calibrate
    varied = vary_side(side, settings, settings.seed + 11)
    texts = [clip.text for clip in side.present.clips]
    # as recorded, and louder, softer, noisier; then single words and such, of which nobody has written down the text
    present: list[Samples] = [*side.present.samples, *varied.present]
    said: list[str | None] = [*texts, *texts, *[None] * (len(present) - 2 * len(texts))]
    if name == UNGATED:
        present, said = present[: 2 * len(texts)], said[: 2 * len(texts)]
    gates: tuple[Gating, ...] = ("none",) if name == UNGATED else ("clip", "frame", "clip+frame")
    with context.tell() as tell:
        output = CalibrationOutput(
            path=folder / f"{name}.json", cache=context.encoded, command=context.output.command, progress=tell,
            split="clips of other recordings and speakers than those it was found on",
        )  # fmt: skip
        chosen = replace(settings.calibrate, gates=gates, language=settings.test.language)
        calibrate(context.model, recipes, varied.absent, present, said, settings.budget, settings=chosen, out=output)


def _calibrate_ungated(context: StageContext, recipes: list[Path], folder: Path) -> None:
    try:
        _calibrate(context, UNGATED, recipes, folder)
    except SteeringError as error:  # gates may be what it takes
        write_atomic(folder / REFUSED, f"{error}\n", SteeringError)


def benchmark_recipes(context: StageContext, gated: Path, ungated: Path, baseline: Path | None) -> Path:
    """Run the stage that tests the recipes and puts together what is delivered.

    Args:
        context: the shared inputs.
        gated: folder of the calibrated recipe with gates.
        ungated: folder of the one without, or of the reason why there is none.
        baseline: file of the recipe by contrast, if there is one.

    Returns:
        Folder with everything that is delivered.
    """
    asked = context.settings.test
    if asked.arms and all(find_spec(name) is not None for name in ("faster_whisper", "onnxruntime")):
        asked = replace(asked, arms=(*asked.arms, VAD))
    others = [] if baseline is None else [baseline.parent]
    clips = context.clips
    inputs = [
        gated, ungated, *others, clips.test.key, vars(asked), context.output.command, clips.provenance, context.base
    ]  # fmt: skip
    test = partial(_test, context, asked, gated / f"{NAME}.json", ungated, baseline)
    return context.stages.run("test", inputs, test) / "result"


def _test(
    context: StageContext, asked: BenchSettings, gated: Path, ungated: Path, baseline: Path | None, folder: Path
) -> None:
    """Write the benchmark's report, the recipes with their figures, and the card."""
    result = folder / "result"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    chosen = load_recipe(gated)
    bare = load_recipe(ungated / f"{UNGATED}.json") if (ungated / f"{UNGATED}.json").is_file() else None
    compared = Recipes(main=chosen, ungated=bare, contrast=None if baseline is None else load_recipe(baseline))
    clips = context.clips
    data = BenchData(absent=_sounds(clips.test.absent), present=_sounds(clips.test.present))
    with context.tell() as tell:
        found = run_bench(context.model, compared, data, context.encoded, asked, progress=tell)
    write_report(found, result / "test")
    for recipe in (bare, chosen):
        if recipe is not None:
            _write(recipe, context, found, result)
    refused = None if bare is not None else (ungated / REFUSED).read_text("utf-8")
    write_card(
        result, chosen, bare, measured_rows(found), clips.provenance, refused=refused, base=context.base,
        command=context.output.command,
    )  # fmt: skip


def _sounds(kind: ClipSet) -> list[BenchClip]:
    pairs = zip(kind.clips, kind.samples, strict=True)
    return [
        BenchClip(clip.name, clip.label or Path(clip.source).name, partial(_same, samples), clip.text)
        for clip, samples in pairs
    ]


def _same(samples: Samples) -> Samples:
    return samples


def _write(recipe: Recipe, context: StageContext, found: BenchResults, folder: Path) -> None:
    """A recipe with what was measured, its SAE beside it, and the pictures of its calibration."""
    if recipe.folder is None:
        raise SteeringError(f"{recipe} was not read from a folder")
    for spec in recipe.saes.values():
        if spec.file is not None:
            shutil.copyfile(recipe.folder / spec.file, folder / spec.file)
    shutil.copytree(recipe.folder / f"{recipe.name}-calibration", folder / f"{recipe.name}-calibration")
    update = {
        "provenance": {
            **({"command": context.output.command} if context.output.command else {}),
            **{key: value for key, value in recipe.provenance.items() if key != "command"},
            "dealt": context.clips.provenance,
        },
        "measured": {**recipe.measured, "test": tested(found)},
    }
    recipe.model_copy(update=update).save(folder / f"{recipe.name}.json")


def tested(found: BenchResults) -> dict[str, Any]:
    """The benchmark's main figures, by mode and arm: [clips it holds of, clips] with text, filters off and on; word
    error rate and its change against unsteered with the 95 % interval, in percent; clips newly blanked."""
    return {
        mode: {
            arm: {
                "text": list(row.noise.text.after[:2]),
                "text_filters_on": list(row.noise.filtered.after[:2]),
                "blanked": [row.speech.new, row.speech.clips],
                **(
                    {
                        "wer": round(100 * row.speech.wer.value, 3),
                        "wer_change": [round(100 * value, 3) for value in row.speech.wer.change],
                    }
                    if row.speech.wer
                    else {}
                ),
            }
            for arm, row in rows.items()
        }
        for mode, rows in (found.clips or {}).items()
    }


def deliver(result: Path, out: Path) -> None:
    """Put every file of `result` into `out`, each whole, recipes after what they need."""
    try:
        out.mkdir(exist_ok=True)
        files = sorted(
            (path for path in result.rglob("*") if path.is_file() and path.suffix != ".part"),
            key=lambda path: _last(path, result),
        )
        for file in files:
            target = out / file.relative_to(result)
            target.parent.mkdir(exist_ok=True)
            with atomic_file(target, SteeringError) as part:
                shutil.copyfile(file, part)
    except OSError as error:
        raise SteeringError(f"cannot write into {out}: {error.strerror}; choose another folder") from error
    if not (out / f"{UNGATED}.json").exists() or (result / f"{UNGATED}.json").exists():
        return
    (out / f"{UNGATED}.json").unlink()  # of an earlier run, with other clips or another budget


def _last(path: Path, result: Path) -> tuple[bool, bool, str]:
    return path.parent == result and path.suffix == ".json", path.name == f"{NAME}.json", path.as_posix()
