"""The command line. Every command is one call that a Python user can make too."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from . import cli_bake, cli_bench, cli_discover
from .cli_shared import LibraryOption, ModelOption, RecipeOption, StrengthOption, complain, progress, say, show_sites
from .errors import AudioSAESteerError, AudioSAESteerWarning, SteeringError


class _Commands(TyperGroup):
    """Every command, with our own errors as one line rather than a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("always", AudioSAESteerWarning)
            try:
                return super().invoke(ctx)
            except AudioSAESteerError as error:
                if ctx.params.get("debug"):
                    raise
                complain(error)
                raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Commands,
    help="Steer audio models while they run, through the features of a sparse autoencoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Steer audio models while they run, through the features of a sparse autoencoder."""


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
    from .evaluate.picture import draw, target
    from .evaluate.table import print_demo

    target(out)
    with progress() as tell:
        found, loaded = run_demo(
            model, recipe, audio, library=_library(library), strength=strength, filters=filters, progress=tell
        )
    print_demo(found, filters=filters)
    with progress() as tell:
        tell("drawing", 0, 1)
        path = draw(found, loaded, out)
        tell("drawing", 1, 1)
    say(f"picture: {path.resolve()}")


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
    from .evaluate.subtitles import write_transcript
    from .models import load_audio, load_processor, load_whisper
    from .steering import steer

    targets = _targets(files, out, out_dir)
    loaded = load_whisper(model, library=_library(library))
    processor = load_processor(model) if library == "transformers" else None
    if steering:
        steer(loaded, recipe, strength=strength)
    temperature = transcriber.FALLBACK if filters else 0.0

    def write(file: Path) -> Any:
        with progress(seconds=True) as tell:
            return transcriber.transcribe(
                loaded,
                load_audio(file),
                processor=processor,
                language=language,
                filters=filters,
                temperature=temperature,
                progress=lambda heard, of: tell(str(file), int(heard), int(of)),
            )

    failed = 0
    for file, target in zip(files, targets, strict=True):
        try:
            said = write(file)
            _show(said, f"{file}: " if len(files) > 1 else "")
            if target is not None:
                say(f"wrote {write_transcript(said, target)}", stderr=True)
        except AudioSAESteerError as error:
            if len(files) == 1:
                raise
            complain(error)  # one bad file among many costs no more than itself
            failed += 1
    if failed:
        say(f"{failed} of {len(files)} files failed", stderr=True)
        raise typer.Exit(2)


def _targets(files: list[Path], out: str | None, out_dir: Path | None) -> list[Path | None]:
    """What to write for each file, checked before anything is transcribed."""
    from .evaluate.subtitles import FORMATS

    if out is None:
        if out_dir is not None:
            raise SteeringError(f"--out-dir needs a format as well: --out {'|'.join(FORMATS)}")
        return [None] * len(files)
    if out not in FORMATS:
        raise SteeringError(f"--out {out} is no format that is written; expected one of {', '.join(FORMATS)}")
    targets = [(out_dir or file.parent) / f"{file.stem}.{out}" for file in files]
    for number, target in enumerate(targets):
        if target in targets[:number]:
            first = files[targets.index(target)]
            raise SteeringError(f"{first} and {files[number]} would both be written to {target}; transcribe them apart")
    if out_dir is not None:
        try:
            out_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SteeringError(f"--out-dir {out_dir} cannot be made: {error.strerror}") from error
    return list(targets)


def _show(said: Any, name: str) -> None:
    from .evaluate.subtitles import clock

    for segment in said.segments:
        times = f"[{clock(segment.start, hours=False)} --> {clock(segment.end, hours=False)}]"
        say(f"{name}{times} {segment.text.strip()}")
    if not said.segments:
        say(f"{name}(no speech)")


@app.command()
def info(
    thing: Annotated[str, typer.Argument(help="a model, an SAE or a recipe: name, path or Hub id")],
    layer: Annotated[int | None, typer.Option(help="which SAE, where there are several")] = None,
) -> None:
    """Explain what a model, an SAE or a recipe is."""
    from .evaluate.explain import explain

    say(explain(thing, layer))


@app.command()
def sites(
    model: Annotated[str, typer.Argument(help="a Whisper as for --model; or a transformers folder or Hub id")],
    modules: Annotated[bool, typer.Option("--modules", help="list every module by its path as well")] = False,
) -> None:
    """List what can be steered in a model: layers with their paths, widths and frame rates, and SAEs that fit."""
    from .listing import list_sites
    from .models import load_model

    show_sites(list_sites(load_model(model), modules=modules))


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
    say(f"wrote {out}: {sae}")
    if "held_out" in sae.info:
        held = sae.info["held_out"]
        say(f"on held-out recordings: FVU {held['fvu']:.3f}, L0 {held['l0']:.1f}, silent features {held['dead']:.1%}")


app.add_typer(cli_bench.app, name="bench")
app.command()(cli_discover.discover)
app.command()(cli_discover.learn)
app.command()(cli_discover.calibrate)
app.command()(cli_discover.make)
app.command()(cli_bake.bake)


def main() -> None:
    """Run a command."""
    app()


def _library(name: str) -> Literal["openai", "transformers"]:
    if name == "openai":
        return "openai"
    if name == "transformers":
        with suppress(ImportError):  # loading says what is missing
            import transformers

            library: Any = transformers
            library.utils.logging.set_verbosity_error()  # its warnings are for programmers
        return "transformers"
    raise SteeringError(f"--library {name} is unknown; expected openai or transformers")


def _show_warning(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
    from rich.markup import escape

    if issubclass(category, AudioSAESteerWarning):  # what libraries say to programmers is not for this command's users
        say(f"[yellow]warning:[/] {escape(str(message))}", stderr=True, markup=True)
