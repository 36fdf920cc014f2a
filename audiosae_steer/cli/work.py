"""Corpus work: `work`, and what commands with `--engine` have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import WorkError
from .console import progress, say

if TYPE_CHECKING:
    from ..io.units.engine_pool import Engine
    from ..io.units.unit_plan import Plan
    from ..io.units.unit_run import Survey
    from ..io.units.unit_store import Store
    from ..io.units.unit_work import Work

QUARANTINED = 3
"""Exit status of work that is done but for inputs that fail whatever is tried."""
NAMED = 10
"""Inputs and units that are named one by one."""
STATUS = "status"


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """Work on several processes or machines."""

    engine: Literal["local", "processes", "ray"] | None = None
    """Work on a corpus in units that can be resumed: in this process, in several, or on Ray."""
    workers: int | None = field(default=None, metadata={"min": 1})
    """Workers of --engine; default: one a core, two on Ray."""
    gpus: float = 0.0
    """GPUs of each worker on Ray; 0.5 puts two on one."""
    address: str | None = None
    """Ray cluster, such as auto; default: this machine."""
    unit: float = 3600.0
    """Seconds of audio in a unit, at most."""
    threads: int = field(default=1, metadata={"min": 1})
    """Threads of each worker."""
    max_failed: str | None = None
    """Recordings that may fail before the work ends, as a share: 0.1%; default: any."""
    plan_only: bool = False
    """Write plan.json and stop; `work` does its parts."""


def engine_of(scaled: Scaled) -> Engine:
    """The engine of that name."""
    from ..io.units.named_engine import engine_named

    return engine_named(scaled.engine or "local", scaled.workers, gpus=scaled.gpus, address=scaled.address)


def share_of(text: str | None) -> float | None:
    """A share such as 0.1% or 0.001. WorkError: it is none."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(%?)", text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value <= 1:
        raise WorkError(f"--max-failed {text} is no share; expected such as 0.1% or 0.001")
    return value


def do_work(plan: Plan, store: Store, scaled: Scaled, part: tuple[int, int] = (1, 1)) -> None:
    """Do a plan's units, and say how that went. typer.Exit: some inputs are quarantined."""
    from ..io.units.unit_run import RunSettings, run

    settings = RunSettings(part=part, max_failed=share_of(scaled.max_failed))
    try:
        with progress() as tell:
            found = run(plan, _work_of(plan), store, engine_of(scaled), settings=settings, progress=tell)
    except KeyboardInterrupt:
        say("interrupted; units that are done stay, and the same command goes on with the rest", stderr=True)
        raise typer.Exit(130) from None
    _tell(found, store)
    own = range(part[0] - 1, len(plan), part[1])
    if any(unit in own for unit, _, _ in found.failed):
        raise typer.Exit(QUARANTINED)


def work(
    what: Annotated[str, typer.Argument(help="plan.json in the folder of the output; or the word status")],
    folder: Annotated[str | None, typer.Argument(help="after status: the folder of the output")] = None,
    shard: Annotated[str, typer.Option(help="part of the units to do, such as 17/64")] = "1/1",
    engine: Annotated[Literal["local", "processes", "ray"], typer.Option(help="who does them")] = "local",
    workers: Annotated[int | None, typer.Option(help="workers of the engine", min=1)] = None,
    max_failed: Annotated[str | None, typer.Option(help="recordings that may fail, as a share: 0.1%")] = None,
) -> None:
    """Do a part of the work that a plan.json holds, as for Slurm or two shells; `work status OUT` tells its state."""
    from ..io.units.unit_plan import PLAN, read_plan
    from ..io.units.unit_run import survey
    from ..io.units.unit_store import open_store

    if what == STATUS:
        if folder is None:
            raise WorkError("say of which folder: audiosae-steer work status OUT")
        store = open_store(folder)
        _tell(survey(read_plan(store), store), store, missing=True)
        return
    if folder is not None:
        raise WorkError(f"{folder} is one word too many; expected plan.json alone, or: work status OUT")
    if PurePosixPath(what).name != PLAN:
        raise WorkError(f"{what} is no {PLAN}; expected the one in the folder of the output")
    store = open_store(what[: -len(PLAN)].rstrip("/") or ".")
    scaled = Scaled(engine=engine, workers=workers, max_failed=max_failed)
    do_work(read_plan(store), store, scaled, _part(shard))


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise WorkError(f"--shard is {text!r}; expected the number of a part and how many there are, such as 17/64")
    return int(found[1]), int(found[2])


def _transcription(plan: Plan) -> Work:
    from ..evaluate.transcription.bulk_transcription import BulkTranscription

    return BulkTranscription.of(plan)


KINDS: dict[str, Callable[[Any], Any]] = {"transcribe": _transcription}
"""Works by the kind of their plans."""


def _work_of(plan: Plan) -> Work:
    if plan.kind not in KINDS:
        raise WorkError(f"this is a plan to {plan.kind}; expected one of {', '.join(KINDS)}")
    found: Work = KINDS[plan.kind](plan)
    return found


def _tell(found: Survey, store: Store, *, missing: bool = False) -> None:
    for unit, name, reason in found.failed[:NAMED]:
        say(f"failed: {name} (unit {unit}): {reason}", stderr=not missing)
    if len(found.failed) > NAMED:
        say(f"failed: {len(found.failed) - NAMED} more; see failed.jsonl", stderr=not missing)
    if missing and found.missing:
        shown = ", ".join(map(str, found.missing[:NAMED])) + (" …" if len(found.missing) > NAMED else "")
        say(f"missing: units {shown}")
    say(f"{store}: {found}")
