"""Transcription of many recordings into files, one of which may fail without ending the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...data.audio import Samples, load_audio
from ...errors import AudioSAESteerError, SteeringError
from .decoding import Decoding
from .jobs import Job
from .subtitles import write_transcript
from .transcribe import Transcript, transcribe_batch
from .transcript_index import Content, note
from .unheard import check_share, drop_unheard


class Outcome(NamedTuple):
    """One recording's result."""

    recording: Path
    transcript: Transcript | None
    """None if it failed, or was done already."""
    written: tuple[Path, ...] = ()
    """Transcripts that were written now."""
    error: Exception | None = None
    """Its failure: to be read, decoded or written."""


class Tally(NamedTuple):
    """Counts of recordings."""

    done: int = 0
    """Transcribed now."""
    empty: int = 0
    """Of those, without text."""
    skipped: int = 0
    """Whose transcripts were there already."""
    failed: tuple[Path, ...] = ()
    """Recordings that failed."""
    dropped: int = 0
    """Words or segments left out of them, since the gates heard no speech there."""

    def plus(self, outcome: Outcome) -> Tally:
        """The counts with one more."""
        if outcome.error is not None:
            return self._replace(failed=(*self.failed, outcome.recording))
        if outcome.transcript is None:
            return self._replace(skipped=self.skipped + 1)
        said = outcome.transcript
        return self._replace(
            done=self.done + 1, empty=self.empty + (not said.text), dropped=self.dropped + len(said.dropped)
        )

    def __str__(self) -> str:
        total = self.done + self.skipped + len(self.failed)
        names = ", ".join(str(path) for path in self.failed[:NAMED])
        more = f" and {len(self.failed) - NAMED} more" if len(self.failed) > NAMED else ""
        failed = f"{len(self.failed)} failed" + (f": {names}{more}" if self.failed else "")
        return f"{total} files: {self.done} done ({self.empty} without text), {self.skipped} skipped, {failed}"


NAMED = 10
"""Failed files that a summary names."""
Progress = Callable[[str, float, float], None]


def transcribe_files(
    model: Any,
    jobs: Sequence[Job],
    decoding: Decoding,
    *,
    processor: Any = None,
    batch: int = 1,
    least_speech: float | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Transcribe recordings one after another, and write their transcripts, each atomically, as soon as it is known.

    A recording that fails gives its error, of any kind, and the next one follows. One that is done already is skipped.

    Args:
        model: a Whisper of either library, steered or not.
        jobs: of `jobs.plan_jobs`.
        decoding: how.
        processor: transformers' `WhisperProcessor`; needed for its models.
        batch: recordings that are decoded at once; more than one needs a model of transformers.
        least_speech: leave out words, or segments without words, in less than this share of whose time a gate heard
            speech; see `unheard.drop_unheard`.
        progress: called with the recordings at work, the seconds encoded, about, and the seconds there are.

    Yields:
        One outcome for each job, in their order.

    Raises:
        SteeringError: the batch is less than one, or the share not above 0 and up to 1.
    """
    if least_speech is not None:
        check_share(least_speech)
    if batch < 1:
        raise SteeringError(f"batch is {batch}; expected at least 1")
    waiting: list[Job] = []
    for number, job in enumerate(jobs, 1):
        waiting.append(job)
        if sum(each.is_open for each in waiting) == batch or number == len(jobs):
            contents = {each: Content.of(each.recording) for each in waiting if each.missing}
            for each, found in _transcribe(model, waiting, decoding, processor, progress):
                yield _outcome(each, found, least_speech, contents.get(each))
            waiting = []


def _transcribe(
    model: Any, jobs: Sequence[Job], decoding: Decoding, processor: Any, progress: Progress | None
) -> Iterator[tuple[Job, Transcript | Exception | None]]:
    loaded: dict[Job, Samples] = {}
    found: dict[Job, Transcript | Exception] = {}
    for job in jobs:
        if job.refusal is not None:
            found[job] = SteeringError(job.refusal)
        elif job.is_open:
            try:
                loaded[job] = load_audio(job.recording)
            except Exception as error:
                found[job] = error
    found |= _decode(model, loaded, decoding, processor, progress)
    for job in jobs:
        yield job, found.get(job)


def _decode(
    model: Any, loaded: dict[Job, Samples], decoding: Decoding, processor: Any, progress: Progress | None
) -> dict[Job, Transcript | Exception]:
    """Texts of a batch; if it fails as a whole, of its recordings alone, so that only those fail that must."""
    jobs = list(loaded)
    if not jobs:
        return {}
    label = str(jobs[0].recording) + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")

    def tell(done: float, of: float) -> None:
        if progress is not None:
            progress(label, done, of)

    try:
        texts = transcribe_batch(model, list(loaded.values()), decoding, processor=processor, progress=tell)
        return dict(zip(jobs, texts, strict=True))
    except Exception as error:
        if len(jobs) == 1:
            return {jobs[0]: error}
    alone = [_decode(model, {job: samples}, decoding, processor, progress) for job, samples in loaded.items()]
    return {job: result for each in alone for job, result in each.items()}


def _outcome(
    job: Job, found: Transcript | Exception | None, least_speech: float | None, content: Content | None
) -> Outcome:
    """Result of a recording, whose transcripts are written, and noted to be of this content."""
    if not isinstance(found, Transcript):
        return Outcome(job.recording, None, error=found)
    written: list[Path] = []
    try:
        if least_speech is not None:
            found = drop_unheard(found, least_speech)
        for target in job.missing:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # if this ends halfway, nothing tells what it is of, rather than something wrong
                note(target, None)
            written.append(write_transcript(found, target))
            note(target, content)
    except AudioSAESteerError as error:
        return Outcome(job.recording, found, tuple(written), error)
    except OSError as error:
        wrong = SteeringError(f"{job.missing[0].parent} cannot be made: {error.strerror}; choose another folder")
        return Outcome(job.recording, found, tuple(written), wrong)
    return Outcome(job.recording, found, tuple(written))
