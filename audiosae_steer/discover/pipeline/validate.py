"""The stages that choose and prove: calibration, the test, and the folder that is delivered."""

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
from ...evaluate.benchmark.material import Sound
from ...evaluate.benchmark.report import write_report
from ...evaluate.benchmark.results import BenchResults
from ...evaluate.benchmark.run import run_bench
from ...evaluate.benchmark.settings import BenchData, Recipes
from ...io.files import whole, write_whole
from ...publishing.calibration_card import write_card
from ...publishing.measured_table import measured_rows
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ..calibration.calibrate import calibrate
from .settings import NAME, UNGATED, Run, vary_side

REFUSED = "refused.txt"
VAD = "vad-0.5"


def calibrated(run: Run, gated: Path, rival: Path | None) -> tuple[Path, Path]:
    """The recipe with gates, and the one without, if any keeps the budget."""
    settings, side = run.settings, run.dealt.calibrate
    language = settings.test.language
    varied = vary_side(side, settings, settings.seed + 11)
    texts = [clip.text for clip in side.present.clips]
    # as recorded, and louder, softer, noisier; then single words and such, of which nobody has written down the text
    present = [*side.present.samples, *varied.present]
    whole = 2 * len(texts)
    heard: dict[str, tuple[list[Samples], list[str | None]]] = {
        NAME: (present, [*texts, *texts, *[None] * (len(present) - whole)]),
        UNGATED: (present[:whole], [*texts, *texts]),
    }

    def choose(name: str, folder: Path) -> None:
        spoken, said = heard[name]
        gates: Any = ("none",) if name == UNGATED else ("clip", "frame", "clip+frame")
        recipes = [path for path in (gated, rival if name == UNGATED else None) if path is not None]
        with run.tell() as tell:
            calibrate(
                run.model, recipes, varied.absent, spoken, said, settings.budget,
                settings=settings.calibrate._replace(gates=gates, language=language),
                out=folder / f"{name}.json", cache=run.encoded, command=run.command,
                split="clips of other recordings and speakers than those it was found on", progress=tell,
            )  # fmt: skip

    def ungated(folder: Path) -> None:
        try:
            choose(UNGATED, folder)
        except SteeringError as error:  # gates may be what it takes
            write_whole(folder / REFUSED, f"{error}\n", SteeringError)

    others = [rival.parent] if rival is not None else []
    hangs_on = [gated.parent, side.key, settings.budget, settings.calibrate, language]
    with_gates = run.stages.run("calibrate", hangs_on, partial(choose, NAME))
    return with_gates, run.stages.run("calibrate without gates", [*hangs_on, *others], ungated)


def prove(run: Run, gated: Path, ungated: Path, rival: Path | None) -> Path:
    """A folder with everything that is delivered."""

    def test(folder: Path) -> None:
        result = folder / "result"
        shutil.rmtree(result, ignore_errors=True)
        result.mkdir()
        chosen = load_recipe(gated / f"{NAME}.json")
        bare = load_recipe(ungated / f"{UNGATED}.json") if (ungated / f"{UNGATED}.json").is_file() else None
        compared = Recipes(main=chosen, ungated=bare, contrast=None if rival is None else load_recipe(rival))
        data = BenchData(absent=_sounds(run.dealt.test.absent), present=_sounds(run.dealt.test.present))
        with run.tell() as tell:
            found = run_bench(run.model, compared, data, run.encoded, asked, progress=tell)
        write_report(found, result / "test")
        for recipe in (bare, chosen):
            if recipe is not None:
                _write(recipe, run, found, result)
        refused = None if bare is not None else (ungated / REFUSED).read_text("utf-8")
        write_card(
            result, chosen, bare, measured_rows(found), run.dealt.provenance, refused=refused, base=run.base, command=run.command
        )

    asked = run.settings.test
    if asked.arms and all(find_spec(name) is not None for name in ("faster_whisper", "onnxruntime")):
        asked = replace(asked, arms=(*asked.arms, VAD))
    others = [] if rival is None else [rival.parent]
    hangs_on = [gated, ungated, *others, run.dealt.test.key, vars(asked), run.command, run.dealt.provenance, run.base]
    return run.stages.run("test", hangs_on, test) / "result"


def _sounds(kind: ClipSet) -> list[Sound]:
    pairs = zip(kind.clips, kind.samples, strict=True)
    return [
        Sound(clip.name, clip.label or Path(clip.source).name, partial(_same, samples), clip.text)
        for clip, samples in pairs
    ]


def _same(samples: Samples) -> Samples:
    return samples


def _write(recipe: Recipe, run: Run, found: BenchResults, folder: Path) -> None:
    """A recipe with what was measured, its SAE beside it, and the pictures of its calibration."""
    if recipe._folder is None:
        raise SteeringError(f"{recipe} was not read from a folder")
    for spec in recipe.saes.values():
        if spec.file is not None:
            shutil.copyfile(recipe._folder / spec.file, folder / spec.file)
    shutil.copytree(recipe._folder / f"{recipe.name}-calibration", folder / f"{recipe.name}-calibration")
    update = {
        "provenance": {
            **({"command": run.command} if run.command else {}),
            **{key: value for key, value in recipe.provenance.items() if key != "command"},
            "dealt": run.dealt.provenance,
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
            with whole(target, SteeringError) as part:
                shutil.copyfile(file, part)
    except OSError as error:
        raise SteeringError(f"cannot write into {out}: {error.strerror}; choose another folder") from error
    if not (out / f"{UNGATED}.json").exists() or (result / f"{UNGATED}.json").exists():
        return
    (out / f"{UNGATED}.json").unlink()  # of an earlier run, with other clips or another budget


def _last(path: Path, result: Path) -> tuple[bool, bool, str]:
    return path.parent == result and path.suffix == ".json", path.name == f"{NAME}.json", path.as_posix()
