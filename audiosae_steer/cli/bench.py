"""The commands that measure recipes against everything else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import ModelOption, RecipeOption, progress, say

app = typer.Typer(help="Measure recipes against what else there is.", no_args_is_help=True)
SourcesOption = list[str] | None
FOLDERS = "folder, file, .txt list, or hub:user/dataset; repeatable"


@app.callback()
def bench() -> None:
    """Measure recipes against what else there is."""


@app.command()
def false_speech(
    absent: Annotated[list[str], typer.Option(help=f"clips in which nobody speaks: {FOLDERS}")],
    present: Annotated[list[str], typer.Option(help=f"clips in which somebody speaks: {FOLDERS}")],
    cache: Annotated[Path, typer.Option(help="folder for everything decoded, about 1 MB a clip and mode")],
    out: Annotated[Path, typer.Option(help="folder for false-speech.json, table.md, front.png and failures.html")],
    model: ModelOption = "tiny.en",
    recipe: RecipeOption = "no-false-speech",
    ungated: Annotated[
        str | None, typer.Option(help="recipe to run without gates; default: --recipe without its own")
    ] = None,
    contrast: Annotated[str | None, typer.Option(help="recipe found by contrast (audiosae-steer discover)")] = None,
    dense: Annotated[str | None, typer.Option(help="recipe that pushes by a learned vector")] = None,
    sae: Annotated[str | None, typer.Option(help="SAE of the other arms; default: the recipe's")] = None,
    layer: Annotated[int | None, typer.Option(help="encoder layer of --sae, counted from 1")] = None,
    text: Annotated[
        Path | None, typer.Option(help="table of what is said (columns file, text, by tabs), where none lies beside")
    ] = None,
    find_absent: Annotated[
        SourcesOption, typer.Option(help="other clips in which nobody speaks, for fits and thresholds; repeatable")
    ] = None,
    find_present: Annotated[
        SourcesOption, typer.Option(help="other clips in which somebody speaks, for the same; repeatable")
    ] = None,
    digits: Annotated[SourcesOption, typer.Option(help="clips of single short words; repeatable")] = None,
    long: Annotated[
        Path | None, typer.Option(help="folder of long recordings with a segments.tsv; default: assemble some")
    ] = None,
    parts: Annotated[str, typer.Option(help="of clips, mixtures, hard, long")] = "clips,mixtures,hard,long",
    modes: Annotated[str, typer.Option(help="of timed, untimed")] = "timed,untimed",
    arms: Annotated[str, typer.Option(help="names of arms or curves, divided by commas; default: all")] = "",
    language: Annotated[str, typer.Option(help="code, or auto to let a multilingual model detect it")] = "en",
    budget: Annotated[float, typer.Option(help="share of speech clips that tuned gates may blank")] = 0.005,
    utterances: Annotated[int, typer.Option(help="for mixtures, and each kind of hard speech")] = 100,
    random_clips: Annotated[int, typer.Option(help="of each kind, for the random features")] = 64,
    draws: Annotated[int, typer.Option(help="of random features")] = 20,
    noise_tokens: Annotated[
        int | None,
        typer.Option(help="most tokens to write where nobody speaks; fewer is faster, and cuts loops off"),
    ] = None,
    long_files: Annotated[int, typer.Option(help="long recordings to assemble")] = 3,
    minutes: Annotated[float, typer.Option(help="that each of them lasts")] = 5.0,
    pipeline_files: Annotated[
        int | None, typer.Option(help="of the long ones, for transformers' pipeline; 0 leaves it out; default: all")
    ] = None,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
) -> None:
    """Text written where nobody speaks, and what it costs on speech: ours, the papers' ways, gates and VAD.

    Interrupted, it goes on where it stopped. Parts or arms can run at once in several processes with one cache; the
    same command without --parts and --arms puts them together.
    """
    from ..evaluate.benchmark.long_recordings import read_long_files
    from ..evaluate.benchmark.material import open_sounds
    from ..evaluate.benchmark.settings import BenchData, BenchSettings

    settings = BenchSettings(
        parts=_names(parts),
        modes=_names(modes),
        arms=_names(arms),
        language=None if language == "auto" else language,
        budget=budget,
        random_clips=random_clips,
        draws=draws,
        noise_tokens=noise_tokens,
        utterances=utterances,
        long_count=long_files,
        long_minutes=minutes,
        pipeline_files=pipeline_files,
        seed=seed,
    )
    data = BenchData(
        absent=open_sounds(absent),
        present=open_sounds(present, text),
        find_absent=open_sounds(find_absent or ()),
        find_present=open_sounds(find_present or (), text),
        digits=open_sounds(digits or (), text),
        long=read_long_files(long) if long is not None else (),
    )
    others = {"ungated": ungated, "contrast": contrast, "dense": dense}
    run(model, recipe, data, settings, cache, out, others=others, sae=sae, layer=layer)


def run(
    model: str,
    recipe: str,
    data: Any,
    settings: Any,
    cache: Path,
    out: Path,
    *,
    others: Mapping[str, str | None] | None = None,
    sae: str | None = None,
    layer: int | None = None,
) -> None:
    """Run the benchmark on data that is at hand, write its files, and say where they are."""
    from ..evaluate.benchmark.arms import our_gated
    from ..evaluate.benchmark.failing_clips import write_failures
    from ..evaluate.benchmark.report import write_report
    from ..evaluate.benchmark.run import Bench
    from ..evaluate.benchmark.settings import Recipes
    from ..models.load import load_processor, load_whisper
    from ..sae.load import load_sae
    from ..steering.recipes.load import load_recipe

    loaded = load_whisper(model)
    read = {key: load_recipe(name, loaded) for key, name in (others or {}).items() if name is not None}
    own = None if sae is None else load_sae(sae, layer=None if Path(sae).is_file() else layer).float()
    recipes = Recipes(main=load_recipe(recipe, loaded), **read, sae=own, layer=layer)

    def transformers() -> Any:
        return load_whisper(model, library="transformers"), load_processor(model)

    with progress() as tell:
        bench = Bench(loaded, recipes, data, cache, settings, tell)
        found = bench.run(transformers if _installed("transformers") else None)
        tell("writing the report", 0, 1)
        paths = write_report(found, out)
        if "clips" in settings.parts:
            looked = ["learned-1", our_gated(list(bench.arms.values()))]
            names = [name for name in looked if name is not None and (not settings.arms or name in found["arms"])]
            if names:
                paths.append(write_failures(bench, bench.modes[0], names, out / "failures.html"))
        tell("writing the report", 1, 1)
    for path in paths:
        say(f"wrote {path}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
