"""Commands that measure recipes against the alternatives: `bench false-speech`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..evaluate.benchmark.settings import BenchData, BenchSettings, Recipes
from .console import ModelOption, progress, say
from .options import Options, with_settings

if TYPE_CHECKING:
    from ..evaluate.benchmark.decodings import Engines
    from ..steering.recipes.schema import Recipe

app = typer.Typer(help="Measure recipes against the alternatives.", no_args_is_help=True)
FOLDERS = "folder, file, .txt list, or hub:user/dataset; repeatable"


@dataclass(frozen=True, kw_only=True)
class OtherClips:
    """Clips beside those to test on."""

    text: Path | None = None
    """Table of what is said (columns file, text, by tabs), where none lies beside the clips."""
    find_absent: tuple[str, ...] = ()
    """Other clips without speech, for fits and thresholds; repeatable."""
    find_present: tuple[str, ...] = ()
    """Other clips with speech, for fits and thresholds; repeatable."""
    digits: tuple[str, ...] = ()
    """Clips of single short words; repeatable."""
    long: Path | None = None
    """Folder of long recordings with a segments.tsv; default: assemble some."""


@dataclass(frozen=True, kw_only=True)
class NamedRecipes:
    """The recipe, and others and the SAE to measure beside it."""

    recipe: str = field(default="no-false-speech", metadata={"short": ("-r",)})
    """Recipe by name, path or Hub id."""

    ungated: str | None = None
    """Recipe to run without gates; default: --recipe without its own."""
    contrast: str | None = None
    """Recipe found by contrast (audiosae-steer discover)."""
    dense: str | None = None
    """Recipe that pushes by a learned vector."""
    constant: str | None = None
    """Recipe of constants, for the part beams: with hooks, and baked in for faster-whisper."""
    sae: str | None = None
    """SAE of the other arms; default: the recipe's."""
    layer: int | None = None
    """Encoder layer of --sae, counted from 1."""


@app.callback()
def bench() -> None:
    """Measure recipes against the alternatives."""


@app.command()
@with_settings(
    Options(defaults=NamedRecipes(), parameter="named"),
    Options(defaults=OtherClips(), parameter="more"),
    Options(
        defaults=BenchSettings(), hidden=("strengths", "timed_clips"), commas=("parts", "modes", "arms"),
        none={"language": "auto"},
        names={"long_count": "long-files", "long_minutes": "minutes", "mixed_count": "windows"},
        help={
            "beams": "number of beams to measure, 1 for greedy, beside the libraries as they come; repeatable",
            "arms": "names of arms or curves, divided by commas; default: all",
            "language": "language code, or auto to let a multilingual model detect it",
            "noise_tokens": "most tokens to write for a clip without speech; fewer is faster, and cuts loops off",
            "pipeline_files": "long recordings for transformers' pipeline; 0 leaves it out; default: all",
        },
    ),
)  # fmt: skip
def false_speech(
    absent: Annotated[list[str], typer.Option(help=f"clips without speech: {FOLDERS}")],
    present: Annotated[list[str], typer.Option(help=f"clips with speech: {FOLDERS}")],
    cache: Annotated[Path, typer.Option(help="folder for everything decoded, about 1 MB a clip and mode")],
    out: Annotated[Path, typer.Option(help="folder for false-speech.json, table.md, front.png and failures.html")],
    settings: BenchSettings,
    more: OtherClips,
    named: NamedRecipes,
    model: ModelOption = "tiny.en",
) -> None:
    """Text on non-speech and its cost on speech: recipes, the papers' ways, thresholds and VAD.

    Interrupted, it resumes. Parts or arms can run at once in several processes with one cache; the same command without
    --parts and --arms puts them together.
    """
    from ..evaluate.benchmark.bench_clips import open_clips
    from ..evaluate.benchmark.long_recordings import read_long_files

    data = BenchData(
        absent=open_clips(absent),
        present=open_clips(present, more.text),
        find_absent=open_clips(more.find_absent),
        find_present=open_clips(more.find_present, more.text),
        digits=open_clips(more.digits, more.text),
        long=read_long_files(more.long) if more.long is not None else (),
    )
    run(model, named, data, settings, cache, out)


def run(model: str, named: NamedRecipes, data: BenchData, settings: BenchSettings, cache: Path, out: Path) -> None:
    """Run the benchmark on data that is at hand, write its files, and say where they are."""
    from ..evaluate.benchmark.arms import gated_arm
    from ..evaluate.benchmark.failing_clips import write_failures
    from ..evaluate.benchmark.report import write_report
    from ..evaluate.benchmark.run import Bench
    from ..evaluate.transcription.languages import check_model_language
    from ..models.load import load_whisper

    loaded = load_whisper(model)
    check_model_language(loaded, settings.language)
    recipes = open_recipes(loaded, named)
    engines = beam_engines(model, loaded, cache, settings.language)
    with progress() as tell:
        bench = Bench(loaded, recipes, data, cache, settings, tell)
        found = bench.run(engines.transformers, engines.ctranslate2)
        tell("writing the report", 0, 1)
        paths = write_report(found, out)
        if "clips" in settings.parts:
            looked = ["learned-1", gated_arm(list(bench.arms.values()))]
            names = [name for name in looked if name is not None and (not settings.arms or name in found.arms)]
            if names:
                paths.append(write_failures(bench, bench.modes[0], names, out / "failures.html"))
        tell("writing the report", 1, 1)
    for path in paths:
        say(f"wrote {path}")


def beam_engines(name: str, model: Any, cache: Path, language: str | None = "en") -> Engines:
    """The model in each library that is installed; folders for faster-whisper are written once, into the cache.

    Args:
        name: the model, as `load_whisper` takes it.
        model: the same, loaded by openai-whisper, unsteered.
        cache: folder; about as much as the weights for each recipe that is baked in.
        language: code for multilingual models; None lets them detect it.
    """
    from ..evaluate.benchmark.arms import Steered
    from ..evaluate.benchmark.decodings import Engines
    from ..models.load import load_processor, load_whisper
    from ..models.registry import fingerprint
    from ..publishing.export import bake_to, export

    def transformers() -> tuple[Any, Any]:
        return load_whisper(name, library="transformers"), load_processor(name)

    def ctranslate2(recipe: Recipe | None, stored: str) -> Path:
        own = "unsteered" if recipe is None else Steered("", "learned", recipe=recipe).key
        to = cache / (fingerprint(model) or "unknown")[:12] / "faster-whisper" / f"{own}-{stored}"
        if not to.is_dir():
            if recipe is None:
                export(load_whisper(name, library="transformers"), to, "ctranslate2", dtype=stored, source=name)
            else:
                bake_to(name, recipe, to, "ctranslate2", dtype=stored)
        return to

    there = _installed("transformers")
    return Engines(
        openai=model, transformers=transformers if there else None, ctranslate2=ctranslate2 if there else None,
        language=language,
    )  # fmt: skip


def open_recipes(model: Any, named: NamedRecipes) -> Recipes:
    """The recipes and the SAE by their names, checked against a loaded model."""
    from ..sae.load import load_sae
    from ..steering.recipes.load import load_recipe

    def opened(name: str | None) -> Any:
        return None if name is None else load_recipe(name, model)

    own = None
    if named.sae is not None:
        own = load_sae(named.sae, layer=None if Path(named.sae).is_file() else named.layer).float()
    return Recipes(
        main=load_recipe(named.recipe, model), ungated=opened(named.ungated), contrast=opened(named.contrast),
        dense=opened(named.dense), constant=opened(named.constant), sae=own, layer=named.layer,
    )  # fmt: skip


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
