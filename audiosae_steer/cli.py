"""The command line. Every command is one call that a Python user can make too."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .errors import AudioSAESteerError, AudioSAESteerWarning, SteeringError

app = typer.Typer(
    help="Steer audio models while they run, through the features of a sparse autoencoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="openai-whisper name or .pt, transformers id or folder, CTranslate2 folder")
]
RecipeOption = Annotated[str, typer.Option("--recipe", "-r", help="recipe by name, path or Hub id")]
LibraryOption = Annotated[str, typer.Option(help="whose model to load: openai or transformers")]
StrengthOption = Annotated[
    float | None, typer.Option(help="0 changes nothing, 1 is the edits as written; default: the recipe's")
]


@app.command()
def demo(
    model: ModelOption = "tiny.en",
    recipe: RecipeOption = "no-false-speech",
    audio: Annotated[
        Path | None, typer.Option(help="folder of clips; default: those that ship with the package")
    ] = None,
    library: LibraryOption = "openai",
    strength: StrengthOption = None,
    filters: Annotated[bool, typer.Option(help="with Whisper's own filters on")] = False,
    out: Annotated[Path, typer.Option(help="where to write the picture")] = Path("audiosae-steer-demo.png"),
) -> None:
    """Transcribe clips without and with steering, print what changed, and draw it."""
    from .evaluate.demo import run_demo
    from .evaluate.picture import draw
    from .evaluate.table import print_demo

    with _progress() as tell:
        found, loaded = run_demo(
            model, recipe, audio, library=_library(library), strength=strength, filters=filters, progress=tell
        )
    print_demo(found, filters=filters)
    with _progress() as tell:
        tell("drawing", 0, 1)
        path = draw(found, loaded, out)
        tell("drawing", 1, 1)
    _say(f"picture: {path.resolve()}")


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="audio files of any length that libsndfile reads")],
    model: ModelOption = "tiny.en",
    recipe: RecipeOption = "no-false-speech",
    steering: Annotated[bool, typer.Option("--steer/--no-steer", help="without: the model as it is")] = True,
    library: LibraryOption = "openai",
    strength: StrengthOption = None,
    language: Annotated[str | None, typer.Option(help='such as "en"; default: detect it')] = None,
    filters: Annotated[bool, typer.Option(help="Whisper's own filters, and its retries at higher temperatures")] = True,
    out: Annotated[str | None, typer.Option(help="also write a file: srt, vtt, txt or json")] = None,
    out_dir: Annotated[Path | None, typer.Option(help="folder for those files; default: beside the audio")] = None,
) -> None:
    """Transcribe audio files with steering."""
    from .evaluate import transcribe as transcriber
    from .evaluate.subtitles import FORMATS, write_transcript
    from .models import load_audio, load_processor, load_whisper
    from .steering import steer

    if out is not None and out not in FORMATS:
        raise SteeringError(f"--out {out} is no format that is written; expected one of {', '.join(FORMATS)}")
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
    samples = [load_audio(file) for file in files]  # every file is checked before the first is transcribed
    loaded = load_whisper(model, library=_library(library))
    processor = load_processor(model) if library == "transformers" else None
    if steering:
        steer(loaded, recipe, strength=strength)
    temperature = transcriber.FALLBACK if filters else 0.0
    with _progress() as tell:
        for number, (file, audio) in enumerate(zip(files, samples, strict=True)):
            tell(f"transcribing {file.name}", number, len(files))
            said = transcriber.transcribe(
                loaded, audio, processor=processor, language=language, filters=filters, temperature=temperature
            )
            tell(f"transcribing {file.name}", number + 1, len(files))
            for segment in said.segments:
                name = f"{file.name}: " if len(files) > 1 else ""
                _say(f"{name}[{_clock(segment.start)} --> {_clock(segment.end)}] {segment.text}")
            if not said.segments:
                _say(f"{file.name}: no speech")
            if out is not None:
                _say(f"wrote {write_transcript(said, (out_dir or file.parent) / f'{file.stem}.{out}')}")


@app.command()
def info(
    thing: Annotated[str, typer.Argument(help="a model, an SAE or a recipe: name, path or Hub id")],
    layer: Annotated[int | None, typer.Option(help="which SAE, where there are several")] = None,
) -> None:
    """Explain what a model, an SAE or a recipe is."""
    from .evaluate.explain import explain

    _say(explain(thing, layer))


@app.command()
def train(
    audio: Annotated[list[Path], typer.Option(help="folder, file, or .txt list of them; may be repeated")],
    layer: Annotated[int, typer.Option(help="encoder layer, counted from 1")],
    out: Annotated[Path, typer.Option(help="the SAE to write, .safetensors")],
    model: ModelOption = "tiny.en",
    n_features: Annotated[int, typer.Option(help="size of the dictionary")] = 3072,
    k: Annotated[int, typer.Option(help="features that fire per frame, on average")] = 32,
    steps: Annotated[int, typer.Option(help="batches to train on")] = 2400,
    batch: Annotated[int, typer.Option(help="frames a batch")] = 2048,
    lr: Annotated[float, typer.Option(help="learning rate")] = 8e-4,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="folder for activations and checkpoints; default: beside --out")
    ] = None,
    collect_layer: Annotated[
        list[int] | None, typer.Option(help="collect these layers in the same pass; repeatable")
    ] = None,
) -> None:
    """Train an SAE on a Whisper's encoder. Interrupted, it goes on where it stopped."""
    from .discover.train import Settings
    from .discover.train import train as train_sae
    from .models import load_whisper

    settings = Settings(n_features, k, steps, batch, lr, seed)
    made = {"model": model, "command": "audiosae-steer " + " ".join(arg for arg in sys.argv[1:] if os.sep not in arg)}
    sae = train_sae(
        load_whisper(model), layer, audio, out, settings=settings, cache=cache, collect_layers=collect_layer, info=made
    )
    _say(f"wrote {out}: {sae}")
    if "held_out" in sae.info:
        held = sae.info["held_out"]
        _say(f"on held-out recordings: FVU {held['fvu']:.3f}, L0 {held['l0']:.1f}, silent features {held['dead']:.1%}")


def main() -> None:
    """Run a command; our own errors are one line, not a traceback, unless AUDIOSAE_STEER_DEBUG is set."""
    warnings.showwarning = _show_warning
    try:
        app()
    except AudioSAESteerError as error:
        if os.environ.get("AUDIOSAE_STEER_DEBUG"):
            raise
        _say(f"[bold red]error[/]: {_escape(str(error))}", stderr=True, markup=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _library(name: str) -> Literal["openai", "transformers"]:
    if name == "openai":
        return "openai"
    if name == "transformers":
        return "transformers"
    raise SteeringError(f"--library {name} is unknown; expected openai or transformers")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield tell


def _say(text: str, *, stderr: bool = False, markup: bool = False) -> None:
    from rich.console import Console

    Console(stderr=stderr, highlight=False, soft_wrap=True).print(text, markup=markup)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):02d}:{rest:05.2f}"


def _show_warning(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
    if issubclass(category, AudioSAESteerWarning):
        _say(f"[yellow]warning[/]: {_escape(str(message))}", stderr=True, markup=True)
