"""Commands that transcribe: `demo` and `transcribe`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import AudioSAESteerError, SteeringError
from .console import (
    LibraryOption,
    ModelOption,
    RecipeOption,
    StrengthOption,
    ThresholdOption,
    complain,
    logged,
    progress,
    say,
)
from .options import Options, with_settings


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Decoding of text."""

    language: str | None = None
    """Language code, such as "en"; default: detect it."""
    filters: bool = True
    """Whisper's own filters, and its retries at higher temperatures."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Transcripts as files."""

    format: str | None = None
    """Also write a file: srt, vtt, txt or json."""
    out: Path | None = None
    """Folder for those files; default: beside the audio."""

    def targets(self, files: list[Path]) -> list[Path | None]:
        """Path of each transcript, checked before anything is transcribed; None: not written.

        Raises:
            SteeringError: the format is unknown, two transcripts have one path, or the folder cannot be made.
        """
        from ..evaluate.transcription.subtitles import FORMATS

        if self.format is None:
            if self.out is not None:
                raise SteeringError(f"--out needs a format as well: --format {'|'.join(FORMATS)}")
            return [None] * len(files)
        if self.format not in FORMATS:
            known = ", ".join(FORMATS)
            raise SteeringError(f"--format {self.format} is not a format that is written; expected one of {known}")
        targets = [(self.out or file.parent) / f"{file.stem}.{self.format}" for file in files]
        for number, target in enumerate(targets):
            if target in targets[:number]:
                first, second = files[targets.index(target)], files[number]
                raise SteeringError(f"{first} and {second} would both be written to {target}; transcribe them apart")
        if self.out is not None:
            try:
                self.out.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SteeringError(f"--out {self.out} cannot be made: {error.strerror}") from error
        return list(targets)


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Extent to which clips are edited, and word of it."""

    strength: float | None = None
    """0 changes nothing, 1 is the edits as written; default: the recipe's."""
    threshold: float | None = None
    """Score above which the gate opens; lower: less text on noise, more speech blanked; default: the recipe's."""
    verbose: bool = False
    """Tell on stderr what the recipe is, and what its gate decides for each window."""


def demo(
    model: ModelOption = "tiny.en",
    recipe: RecipeOption = "no-false-speech",
    audio: Annotated[
        Path | None, typer.Option(help="folder of clips; default: those that ship with the package")
    ] = None,
    library: LibraryOption = "openai",
    strength: StrengthOption = None,
    threshold: ThresholdOption = None,
    filters: Annotated[bool, typer.Option(help="with Whisper's own filters on")] = False,
    out: Annotated[Path, typer.Option(help="where to write the picture")] = Path("audiosae-steer-demo.png"),
) -> None:
    """Transcribe clips without and with steering, print what changed, and draw it."""
    from ..evaluate.demo.picture import draw, target
    from ..evaluate.demo.run import run_demo
    from ..evaluate.demo.table import print_demo

    target(out)
    with progress() as tell:
        found, loaded = run_demo(
            model,
            recipe,
            audio,
            library=_library(library),
            strength=strength,
            threshold=threshold,
            filters=filters,
            progress=tell,
        )
    print_demo(found, filters=filters)
    with progress() as tell:
        tell("drawing", 0, 1)
        path = draw(found, loaded, out)
        tell("drawing", 1, 1)
    say(f"picture: {path.resolve()}")


@with_settings(
    Options(defaults=Decoding(), parameter="decoding"),
    Options(defaults=Files(), parameter="written"),
    Options(defaults=Amount(), parameter="amount"),
)
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="audio files of any length that libsndfile reads")],
    decoding: Decoding,
    written: Files,
    amount: Amount,
    model: ModelOption = "tiny.en",
    recipe: RecipeOption = "no-false-speech",
    steering: Annotated[bool, typer.Option("--steer/--no-steer", help="without: the unsteered model")] = True,
    library: LibraryOption = "openai",
) -> None:
    """Transcribe audio files with steering."""
    from ..data.audio import load_audio
    from ..evaluate.transcription import transcribe as transcriber
    from ..evaluate.transcription.subtitles import write_transcript
    from ..models.load import load_processor, load_whisper
    from ..steering.steering import steer

    targets = written.targets(files)
    loaded = load_whisper(model, library=_library(library))
    processor = load_processor(model) if library == "transformers" else None
    if steering:
        with logged(amount.verbose):
            steer(loaded, recipe, strength=amount.strength, threshold=amount.threshold)
    temperature = transcriber.FALLBACK if decoding.filters else 0.0

    def write(file: Path) -> Any:
        with progress(seconds=True) as tell:
            return transcriber.transcribe(
                loaded,
                load_audio(file),
                processor=processor,
                language=decoding.language,
                filters=decoding.filters,
                temperature=temperature,
                progress=lambda done, of: tell(str(file), int(done), int(of)),
            )

    failed = 0
    for file, target in zip(files, targets, strict=True):
        try:
            said = write(file)
            _show(said, f"{file}: " if len(files) > 1 else "")
            for event in said.gates if amount.verbose else ():
                say(f"{file}: {event.words()}", stderr=True)
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


def _show(said: Any, name: str) -> None:
    from ..evaluate.transcription.subtitles import clock

    for segment in said.segments:
        times = f"[{clock(segment.start, hours=False)} --> {clock(segment.end, hours=False)}]"
        say(f"{name}{times} {segment.text.strip()}")
    if not said.segments:
        say(f"{name}(no speech)")


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
