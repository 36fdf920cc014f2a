"""Commands that transcribe: `demo` and `transcribe`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import AudioSAESteerError, SteeringError, WorkError
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
from .work import Scaled, do_work


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
    Options(defaults=Scaled(), parameter="scaled"),
)
def transcribe(
    files: Annotated[list[str], typer.Argument(help="audio or video files of any length, folders, or patterns")],
    decoding: Decoding,
    written: Files,
    steered: Steered,
    machine: Machine,
    scaled: Scaled,
    context: typer.Context,
) -> None:
    """Transcribe audio files with steering; with --engine a corpus, in units that can be resumed."""
    from ..evaluate.transcription.jobs import check_formats, find_recordings, plan_jobs
    from ..evaluate.transcription.recordings import Tally, transcribe_files

    check_formats(written.formats)
    check(decoding, written, steered, machine, context, in_lines=scaled.engine is not None)
    if scaled.engine is not None:
        _corpus(files, decoding, written, steered, machine, scaled)
        return
    out = None if written.out is None else Path(written.out)
    jobs = plan_jobs(find_recordings(files), written.formats, out, overwrite=written.overwrite)
    make_folder(out)
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
    """The model, steered, and its processor if it needs one."""
    from ..evaluate.transcription.steered_whisper import load_steered

    with logged(steered.steer and steered.verbose):
        found = load_steered(
            machine.model,
            library_of(machine.library),
            machine.device,
            recipe=steered.recipe if steered.steer else None,
            strength=steered.strength,
            threshold=steered.threshold,
            language=decoding.language,
            drops_unheard=decoding.drop_unheard is not None,
        )
    return found.model, found.processor


def _corpus(
    files: list[str], decoding: Decoding, written: Files, steered: Steered, machine: Machine, scaled: Scaled
) -> None:
    """Transcribe a folder or URL in units."""
    from ..evaluate.transcription.bulk_transcription import BulkSettings, plan_transcription
    from ..io.units.unit_plan import claim
    from ..io.units.unit_store import open_store

    if len(files) != 1 or written.out is None:
        raise WorkError("with --engine, name one folder or URL of audio, and --out for the transcripts")
    if written.overwrite:
        raise WorkError("with --engine, what is done is never made anew; name a new --out in the place of --overwrite")
    store = open_store(written.out)
    settings = BulkSettings(
        model=machine.model,
        library=library_of(machine.library),
        device=machine.device,
        batch=machine.batch,
        threads=scaled.threads,
        recipe=steered.recipe if steered.steer else None,
        strength=steered.strength,
        threshold=steered.threshold,
        decoding=_options(decoding),
        least_speech=decoding.drop_unheard,
        formats=written.formats,
    )
    with progress() as tell:
        plan = plan_transcription(files[0], settings, seconds=scaled.unit, progress=tell)
    if scaled.plan_only:
        claim(store, plan)
        say(f"wrote {store}/plan.json: {len(plan)} units of {len(plan.items)} recordings")
        return
    do_work(plan, store, scaled)


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
