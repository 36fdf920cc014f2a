"""Commands that transcribe: `demo` and `transcribe`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

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
from .transcribe_options import Decoding, Files, Machine, Steered, check, library_of, make_folder


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
            library=library_of(library),
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
    Options(defaults=Machine(), parameter="machine"),
    Options(defaults=Steered(), parameter="steered"),
    Options(defaults=Decoding(), parameter="decoding"),
    Options(defaults=Files(), parameter="written"),
)
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="audio or video files of any length, folders, or patterns")],
    decoding: Decoding,
    written: Files,
    steered: Steered,
    machine: Machine,
    context: typer.Context,
) -> None:
    """Transcribe audio files with steering."""
    from ..evaluate.transcription.jobs import check_formats, find_recordings, plan_jobs
    from ..evaluate.transcription.recordings import Tally, transcribe_files

    check_formats(written.formats)
    check(decoding, written, steered, machine, context)
    jobs = plan_jobs(find_recordings(files), written.formats, written.out, overwrite=written.overwrite)
    make_folder(written.out)
    done = sum(job.is_done for job in jobs)
    if done:
        are = "files have their transcripts already and are" if len(jobs) > 1 else "file has its transcript and is"
        say(f"{done} of {len(jobs)} {are} skipped; --overwrite makes them anew", stderr=True)
    tally = Tally()
    try:
        model, processor = _load(machine, steered, decoding) if any(job.is_open for job in jobs) else (None, None)
        with _bars() as tell:
            for outcome in transcribe_files(
                model,
                jobs,
                _options(decoding),
                processor=processor,
                batch=machine.batch,
                least_speech=decoding.drop_unheard,
                progress=tell,
            ):
                tally = tally.plus(outcome)
                _report(outcome, len(jobs), steered.verbose)
    except KeyboardInterrupt:
        kept = "what is written stays, and the same command goes on with the rest"
        lost = "nothing is written without --format"
        what = lost if not written.formats else kept if not written.overwrite else f"{kept} without --overwrite"
        say(f"interrupted after {tally.done} of {len(jobs) - done} files; {what}", stderr=True)
        raise typer.Exit(130) from None
    summary = [str(tally)] if len(jobs) > 1 else []
    if decoding.drop_unheard is not None and tally.done:
        what = "word" if decoding.word_timestamps else "segment"
        summary.append(f"{tally.dropped} {what}{'' if tally.dropped == 1 else 's'} left out as unheard")
    if summary:
        say("; ".join(summary), stderr=True)
    if tally.failed:
        raise typer.Exit(2)


def _load(machine: Machine, steered: Steered, decoding: Decoding) -> tuple[Any, Any]:
    """The model, steered, and its processor if it needs one.

    Raises:
        SteeringError: the model does not know the language, or the recipe does not hear where somebody speaks, though
            it has to.
    """
    from ..evaluate.transcription.languages import check_model_language
    from ..models.load import load_processor, load_whisper
    from ..steering.steering import steer

    library = library_of(machine.library)
    model = load_whisper(machine.model, library=library, device=machine.device)
    check_model_language(model, decoding.language)
    processor = load_processor(machine.model) if library == "transformers" else None
    if steered.steer:
        with logged(steered.verbose):
            recipe = steer(model, steered.recipe, strength=steered.strength, threshold=steered.threshold).recipe
        if decoding.drop_unheard is not None and not (recipe and (recipe.timestamp_gate or recipe.frame_gate)):
            raise SteeringError(
                f"--drop-unheard needs a recipe with a timestamp gate, which {steered.recipe} has not; add --recipe "
                "no-false-speech"
            )
    return model, processor


def _options(decoding: Decoding) -> Any:
    from ..evaluate.transcription import decoding as options

    return options.Decoding(
        language=decoding.language,
        filters=decoding.filters,
        temperatures=options.FALLBACK if decoding.filters else (0.0,),
        task=decoding.task,
        beam_size=decoding.beam_size,
        word_timestamps=decoding.word_timestamps,
    )


@contextmanager
def _bars() -> Iterator[Callable[[str, float, float], None]]:
    """A bar that is there while a recording is at work, and gone before its text is printed."""
    with ExitStack() as stack:
        shown: dict[str, Any] = {}

        def tell(what: str, done: float, of: float) -> None:
            if what not in shown:
                stack.close()
                shown.clear()
                shown[what] = stack.enter_context(progress(seconds=True))
            shown[what](what, int(done), int(of))
            if done >= of:
                stack.close()
                shown.clear()

        yield tell


def _report(outcome: Any, files: int, verbose: bool) -> None:
    """Print a recording's text, what was written, and its failure, which a single one raises."""
    from ..evaluate.transcription.gate_windows import numbered

    if outcome.transcript is not None:
        _show(outcome.transcript, f"{outcome.recording}: " if files > 1 else "")
        for event in numbered(outcome.transcript.gates) if verbose else ():
            say(f"{outcome.recording}: {event.words()}", stderr=True)
    for path in outcome.written:
        say(f"wrote {path}", stderr=True)
    if outcome.error is None:
        return
    if files == 1:
        raise outcome.error
    if isinstance(outcome.error, AudioSAESteerError):
        named = str(outcome.error) if str(outcome.recording) in str(outcome.error) else None
        complain(outcome.error if named else SteeringError(f"{outcome.recording}: {outcome.error}"))
    else:  # of another library, which does not name the file
        complain(SteeringError(f"{outcome.recording}: {type(outcome.error).__name__}: {outcome.error}"))


def _show(said: Any, name: str) -> None:
    from ..evaluate.transcription.subtitles import clock

    for segment in said.segments:
        times = f"[{clock(segment.start, hours=False)} --> {clock(segment.end, hours=False)}]"
        say(f"{name}{times} {segment.text.strip()}")
    if not said.segments:
        say(f"{name}(no speech)")
