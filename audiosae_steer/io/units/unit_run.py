"""Runs: the units that are missing are done by an engine, and the summary is written last."""

from __future__ import annotations

import hashlib
import heapq
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import NamedTuple

from ...errors import WorkError
from ..progress import Tell
from .engine_pool import Engine, Pool
from .local_engine import Local
from .unit_plan import Plan, claim, share
from .unit_store import Store, steadily
from .unit_tries import NotDoneError, Retry, Tries, tries
from .unit_work import Answer, Order, Record, Try, Work, done_units, record_name

SUMMARY, FAILED = "summary.json", "failed.jsonl"
"""Names of the files that are written last: what was done, and a line for each input that is quarantined."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of a run that do not change its output."""

    part: tuple[int, int] = (1, 1)
    """Number of this run, from 1, and how many runs share the units."""
    max_failed: float | None = None
    """Share of the inputs that may be quarantined, 0 to 1, before the run ends; None: any."""
    retry: Retry = field(default_factory=Retry)
    """Limits of tries."""


class Survey(NamedTuple):
    """State of a folder of output."""

    units: int
    missing: tuple[int, ...]
    """Numbers of the units that are not done."""
    inputs: int
    """Inputs of the units that are done."""
    seconds: float
    """Their length, without those that failed."""
    failed: tuple[tuple[int, str, str], ...]
    """Unit, name and reason of each input that is quarantined."""
    outputs: str
    """sha256 over the names and sha256 of all files."""

    @property
    def is_done(self) -> bool:
        """True if every unit is done."""
        return not self.missing

    def __str__(self) -> str:
        done = self.units - len(self.missing)
        return (
            f"{done} of {self.units} units done, {self.inputs} recordings ({self.seconds / 3600:.2f} h), "
            f"{len(self.failed)} failed"
        )


def run(
    plan: Plan, work: Work, store: Store, engine: Engine | None = None, *, settings: RunSettings | None = None,
    progress: Tell | None = None,
) -> Survey:  # fmt: skip
    """Do the units of a plan that are missing in a folder of output.

    At least once executed, exactly once in effect: a unit's files depend on the plan alone and have fixed names. Runs
    may be killed at any moment, started again, and several may work on one folder. What is done is what is listed.

    Args:
        plan: the plan; a folder with output of another is refused.
        work: what is done with a unit.
        store: the folder of output.
        engine: who does it; by default this process.
        settings: of the run.
        progress: called with what is done, how many units are, and of how many.

    Returns:
        The state of the folder; inputs that are quarantined are named in it, and in `failed.jsonl` once all is done.

    Raises:
        WorkError: the folder is of another plan or cannot be written, workers do not start, too many inputs fail, or
            units are missing after retries; the message says what to do.
        MissingExtraError: the engine or the file system is not installed.
    """
    settings = settings or RunSettings()
    own = share(range(len(plan)), settings.part)
    claim(store, plan)
    done = steadily(lambda: done_units(store, plan))
    todo = [number for number in own if number not in done]
    failed = sum(len(record.failed) for record in records(plan, store, done)) if settings.max_failed is not None else 0
    drive = _Drive(plan, store, settings, failed, progress, len(own))
    if todo:
        with (engine or Local()).open(Order.of(plan, work, store), settings.retry) as pool:
            drive.through(pool, todo)
    found = survey(plan, store)
    if drive.not_done:
        number, reason = next(iter(drive.not_done.items()))
        raise WorkError(
            f"{len(drive.not_done)} units could not be done and are missing (unit {number}: {reason}); once that "
            "is mended, run the same command again"
        )
    if found.is_done:
        _conclude(plan, store, found)
    return found


def records(plan: Plan, store: Store, done: set[int]) -> Iterator[Record]:
    """Records of the units that are done, in order, one at a time. WorkError: one is damaged."""
    for number in sorted(done):
        name = record_name(plan.stem(number))
        yield Record.from_json(steadily(partial(store.read, name)), f"{store}/{name}")


def survey(plan: Plan, store: Store) -> Survey:
    """The state of a folder of output. WorkError: it cannot be read, or a record is damaged."""
    done = steadily(lambda: done_units(store, plan))
    digest, inputs, seconds = hashlib.sha256(), 0, 0.0
    failed: list[tuple[int, str, str]] = []
    for record in records(plan, store, done):
        inputs += record.inputs
        seconds += record.seconds
        failed += [(record.unit, name, reason) for name, reason in sorted(record.failed.items())]
        for name, sha256 in sorted(record.files.items()):
            digest.update(f"{name}\0{sha256}\n".encode())
    missing = tuple(number for number in range(len(plan)) if number not in done)
    return Survey(len(plan), missing, inputs, round(seconds, 3), tuple(failed), digest.hexdigest())


def _conclude(plan: Plan, store: Store, found: Survey) -> None:
    """Write what failed, and the summary last; runs that end at once write the same bytes."""
    lines = [{"unit": unit, "recording": name, "reason": reason} for unit, name, reason in found.failed]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    content = {
        "kind": plan.kind, "digest": plan.digest, "units": found.units, "recordings": found.inputs,
        "failed": len(found.failed), "seconds": found.seconds, "outputs": found.outputs,
    }  # fmt: skip
    steadily(lambda: store.put(FAILED, text.encode(), replace=True))
    steadily(lambda: store.put(SUMMARY, (json.dumps(content, indent=1) + "\n").encode(), replace=True))


class _Drive:
    """The driver's loop; it holds what is at work, and nothing of what is done."""

    def __init__(
        self, plan: Plan, store: Store, settings: RunSettings, failed: int, progress: Tell | None, total: int
    ) -> None:
        self._plan, self._store, self._settings = plan, store, settings
        self._failed, self._progress, self._total = failed, progress, total
        self._open: dict[int, Tries] = {}
        self._later: list[tuple[float, int, Try]] = []
        self._order = count()
        self.not_done: dict[int, str] = {}

    def through(self, pool: Pool, todo: list[int]) -> None:
        """Do these units."""
        waiting = iter(todo)
        left = len(todo)
        self._check(0)
        while True:
            self._tell(self._total - left)
            while len(self._open) < pool.capacity and (number := next(waiting, None)) is not None:
                if self._is_done(number):  # by another run meanwhile
                    left -= 1
                    continue
                self._open[number] = tries(number, self._plan.unit(number), self._settings.retry)
                self._submit(pool, next(self._open[number]))
            if not self._open:
                break
            found = pool.next(self._patience(pool))
            if found is not None:
                given, answer = found
                if answer.kind == "fatal":
                    raise WorkError(f"the output cannot be written: {answer.reason}; what is done stays, and the same "
                                    "command goes on once that is mended")  # fmt: skip
                left -= self._step(pool, given.number, answer)
        self._tell(self._total - left)

    def _step(self, pool: Pool, number: int, answer: Answer) -> bool:
        """Go on with a unit; True if it is over."""
        try:
            following = self._open[number].send(answer)
        except StopIteration as stop:
            self._check(len(stop.value.failed))
        except NotDoneError as error:
            self.not_done[number] = str(error)
        else:
            self._submit(pool, following)
            return False
        del self._open[number]
        return True

    def _submit(self, pool: Pool, given: Try) -> None:
        if given.delay > 0:
            heapq.heappush(self._later, (time.monotonic() + given.delay, next(self._order), given))
        else:
            pool.submit(given)

    def _patience(self, pool: Pool) -> float | None:
        """Seconds until the next try whose wait is not over; those whose wait is are submitted."""
        while self._later and self._later[0][0] <= time.monotonic():
            pool.submit(heapq.heappop(self._later)[2])
        if not self._later:
            return None
        seconds = max(self._later[0][0] - time.monotonic(), 0.0)
        if len(self._later) == len(self._open):  # nobody is at work
            time.sleep(seconds)
            return self._patience(pool)
        return seconds

    def _check(self, more: int) -> None:
        self._failed += more
        limit = self._settings.max_failed
        if limit is not None and self._failed > limit * len(self._plan.items):
            raise WorkError(
                f"{self._failed} of {len(self._plan.items)} recordings failed, more than --max-failed "
                f"{100 * limit:g}%; see `audiosae-steer work status {self._store}`"
            )

    def _is_done(self, number: int) -> bool:
        return steadily(lambda: self._store.has(record_name(self._plan.stem(number))))

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress("units", done, self._total)
