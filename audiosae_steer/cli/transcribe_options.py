"""Options of `transcribe`, and refusal of those that cannot be, or would be ignored, before anything is loaded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import typer

from ..errors import SteeringError


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Decoding of text."""

    language: str | None = None
    """Language code, such as "en"; default: detect it."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """Write what is said, or its English translation (multilingual models)."""
    beam_size: int = field(default=1, metadata={"min": 1})
    """Beams; 1 is greedy."""
    word_timestamps: bool = False
    """Times of each word as well, in json."""
    drop_unheard: float | None = None
    """Leave out words (with --word-timestamps) or segments in less than this share of whose time the timestamp gate
    hears speech, such as 0.5."""
    filters: bool = True
    """Whisper's own filters, and its retries at higher temperatures."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Transcripts as files."""

    format: tuple[str, ...] = ()
    """Also write files: srt, vtt, txt or json; repeatable, or with commas."""
    out: str | None = None
    """Folder for those files; default: beside the audio; with --engine also s3://, gs:// or az://."""
    overwrite: bool = False
    """Transcribe again what has its files already; by default it is skipped."""

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats one by one."""
        return tuple(word.strip() for words in self.format for word in words.split(",") if word.strip())


@dataclass(frozen=True, kw_only=True)
class Steered:
    """Steering of the model."""

    recipe: str = field(default="no-false-speech", metadata={"short": ("-r",)})
    """Recipe by name, path or Hub id."""
    steer: bool = True
    """Without: the unsteered model."""
    strength: float | None = None
    """0 changes nothing, 1 is the edits as written; default: the recipe's."""
    threshold: float | None = None
    """Score above which the gate opens; lower: less text on noise, more speech blanked; default: the recipe's."""
    verbose: bool = False
    """Tell on stderr what the recipe is, and what its gate decides for each window."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The model, and how it runs."""

    model: str = field(default="tiny.en", metadata={"short": ("-m",)})
    """openai-whisper name or .pt, transformers id or folder, CTranslate2 folder."""
    library: str = "openai"
    """Whose model to load: openai or transformers."""
    device: str = "cpu"
    """Device to run on: cpu, cuda, cuda:1, mps."""
    batch: int = field(default=1, metadata={"min": 1})
    """Recordings at once, with --library transformers."""


def check(
    decoding: Decoding,
    written: Files,
    steered: Steered,
    machine: Machine,
    context: typer.Context | None = None,
    *,
    in_lines: bool = False,
) -> None:
    """Refuse what cannot be done before anything is loaded.

    Args:
        decoding: options.
        written: options.
        steered: options.
        machine: options.
        context: of the command, which tells options that were typed from defaults.
        in_lines: transcripts are written as lines of JSON as well.

    Raises:
        SteeringError: an option does not go with another, or a language or device is unknown.
        RecipeError: there is no such recipe.
    """
    from ..evaluate.transcription.languages import check_language
    from ..evaluate.transcription.subtitles import FORMATS
    from ..evaluate.transcription.unheard import check_share
    from ..steering.recipes.load import check_recipe

    library = library_of(machine.library)
    if machine.batch > 1 and library == "openai":
        raise SteeringError("openai-whisper decodes one window at a time; for --batch take --library transformers")
    if decoding.drop_unheard is not None:
        check_share(decoding.drop_unheard)
        if not steered.steer:
            raise SteeringError(
                "--drop-unheard asks a recipe's timestamp gate, and --no-steer runs none; leave one out"
            )
    elif decoding.word_timestamps and "json" not in written.formats and not in_lines:
        raise SteeringError("the times of words are written in json alone; add --format json")
    if written.overwrite and not written.formats:
        raise SteeringError(f"--overwrite needs a format as well: --format {'|'.join(FORMATS)}")
    check_language(decoding.language, library)
    if steered.steer:
        check_recipe(steered.recipe)
    else:
        _check_unsteered(steered, context)
    _check_device(machine.device)


def _check_unsteered(steered: Steered, context: typer.Context | None) -> None:
    source = None if context is None else context.get_parameter_source("recipe")
    named = source is not None and source.name == "COMMANDLINE"
    given = {
        "--recipe": named,
        "--strength": steered.strength is not None,
        "--threshold": steered.threshold is not None,
    }
    for option in (name for name, is_given in given.items() if is_given):
        raise SteeringError(f"{option} is of a steering, and --no-steer runs none; leave one out")


def _check_device(name: str) -> None:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:  # which lists twenty kinds, most of them of other people's hardware
        raise SteeringError(
            f"--device {name} cannot be used here: there is no such device; expected cpu, cuda, cuda:1 or mps"
        ) from error
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise SteeringError(f"--device {name} cannot be used here ({reason}); --device cpu can") from error


def make_folder(out: Path | None) -> None:
    """Make the folder `--out`.

    Raises:
        SteeringError: it is a file, or cannot be made.
    """
    if out is not None:
        if out.is_file():
            raise SteeringError(f"--out {out} is a file; expected a folder, which is made if it is not there")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SteeringError(f"--out {out} cannot be made: {error.strerror}") from error


def library_of(name: str) -> Literal["openai", "transformers"]:
    """The library of that name, whose warnings for programmers are switched off.

    Raises:
        SteeringError: it is unknown.
    """
    if name == "openai":
        return "openai"
    if name == "transformers":
        with suppress(ImportError):  # loading says what is missing
            import transformers

            library: Any = transformers
            library.utils.logging.set_verbosity_error()  # its warnings are for programmers
        return "transformers"
    raise SteeringError(f"--library {name} is unknown; expected openai or transformers")
