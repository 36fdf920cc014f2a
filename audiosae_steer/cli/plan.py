"""Command that tells the size of corpus work, and estimates its cost: `plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import WorkError
from .console import say
from .options import Options, with_settings

if TYPE_CHECKING:
    from ..evaluate.estimate.timed_sample import SampleTask


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Model and SAE of the work that is measured."""

    model: str = field(default="tiny.en", metadata={"short": ("-m",)})
    """Model by name, as of `train`."""
    layer: tuple[int, ...] = (4,)
    """Encoder layer, counted from 1; repeatable."""
    sae: str = "tiny.en"
    """SAE of an index, as of `explore build`."""


@with_settings(Options(defaults=Subject(), parameter="subject"))
def plan(
    subject: Subject,
    audio: Annotated[
        list[Path] | None, typer.Argument(help="folders, files, or .txt lists of them; default: the bundled clips")
    ] = None,
    estimate: Annotated[
        Literal["transcribe", "activations", "index"] | None,
        typer.Option(help="measure this work for --seconds, and tell what it costs on all of the audio"),
    ] = None,
    hours: Annotated[float | None, typer.Option(help="hours of the corpus; default: those of the audio")] = None,
    seconds: Annotated[float, typer.Option(help="seconds to measure for, 120 at most")] = 60.0,
    workers: Annotated[int, typer.Option(help="workers that share the work", min=1)] = 1,
    paper: Annotated[str | None, typer.Option(help="tell what is so on paper for tiny, small, large-v3 …")] = None,
) -> None:
    """Tell the size of corpus work; with --estimate what it costs, by a measurement of two minutes at most."""
    from ..data.audio_paths import list_audio
    from ..evaluate.estimate.corpus_estimate import HOUR, estimate_rows, size_rows
    from ..evaluate.estimate.cost_rows import cost_table
    from ..evaluate.estimate.paper_costs import paper_costs, shape_of
    from ..evaluate.estimate.sample_tasks import corpus_size
    from ..evaluate.estimate.timed_sample import time_task
    from ..io.shipped import checkpoints_dir

    if hours is not None and not 0 < hours < float("inf"):
        raise WorkError(f"--hours {hours:g} is no length of a corpus; expected more than 0")
    shape = None if paper is None else shape_of(paper)
    files = list_audio(audio or [checkpoints_dir() / "clips"])
    size = corpus_size(files)
    if shape is not None:
        _show(cost_table(paper_costs(shape, hours or size.hours)))
        return
    if estimate is None:
        _show(cost_table(size_rows(size if hours is None else size.scaled(hours), HOUR)))
        return
    task = _task(estimate, files, subject)
    timed = time_task(task, seconds)
    whole = size if hours is None else size.scaled(hours)
    _show(cost_table(estimate_rows(task, timed, whole, workers=workers)))
    if not audio:
        say(
            "measured on the bundled clips, which are short; longer audio costs less an hour: name your own",
            stderr=True,
        )


def _task(what: str, files: Sequence[Path], subject: Subject) -> SampleTask:
    from ..models.load import load_model

    if what == "transcribe":
        from ..evaluate.estimate.sample_tasks import transcription_task
        from ..evaluate.transcription.bulk_transcription import BulkSettings

        return transcription_task(files, BulkSettings(model=subject.model))
    if what == "activations":
        from ..evaluate.estimate.sample_tasks import activations_task

        return activations_task(files, load_model(subject.model), subject.layer)
    from ..explorer.index.index_sample import index_task

    saes = [(subject.sae, number) for number in subject.layer]
    return index_task(files, load_model(subject.model), subject.model, saes)


def _show(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)
