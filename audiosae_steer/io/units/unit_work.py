"""One unit's work: a pure function of its inputs, whose files are committed with a record of them last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ...errors import WorkError
from ..strict_json import parse
from .unit_failures import Kind, kind_of, reason_of
from .unit_plan import Item, Plan
from .unit_store import Store

RECORDS = "units"
"""Folder of the records, and of files that hold a unit's whole output."""


class Unit(NamedTuple):
    """A unit as its function sees it."""

    stem: str
    """Name for files of its own, below `units/`: its number and the plan's digest."""
    items: tuple[Item, ...]
    """Inputs, without those that are quarantined; at least one."""
    halved: bool
    """Memory ran out: take half the batch."""


class Produced(NamedTuple):
    """Output of a unit."""

    files: Mapping[str, bytes]
    """By name below the folder of output."""
    failed: Mapping[str, str] = {}
    """Reasons by the name of the input: of those that fail whatever is tried, such as no audio."""


class Work(Protocol):
    """Work on units. It is pickled to workers, each of which opens it once."""

    def open(self) -> Callable[[Unit], Produced]:
        """Load what all units need, such as a model, and return the function of a unit.

        The function keeps no state between units, and draws by `seed_of` alone: the same unit gives the same files.
        Names of files hold the unit's stem, or are names of inputs.
        """


class Record(NamedTuple):
    """Record of a unit that is done: it is written last, and its presence means that the files are there."""

    unit: int
    inputs: int
    """Inputs, failed ones included."""
    seconds: float
    halved: bool
    files: dict[str, str]
    """sha256 by name."""
    failed: dict[str, str]
    """Reasons by the name of the input."""

    def to_json(self) -> bytes:
        """The record as a file."""
        return (json.dumps(self._asdict(), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Record:
        """A record from its file. WorkError: it is damaged."""
        try:
            found = cls(**parse(content))
            if not isinstance(found.files, dict) or not isinstance(found.failed, dict):
                raise ValueError("its files are no table")
        except (ValueError, TypeError) as error:
            raise WorkError(f"{name} is damaged ({error}); remove it, and run the same command again") from error
        return found


class Try(NamedTuple):
    """One try of a unit, or of a part of it whose output is thrown away."""

    number: int
    items: tuple[Item, ...]
    failed: Mapping[str, str] = {}
    """Inputs of the unit that are quarantined."""
    halved: bool = False
    commit: bool = True
    """Write the output; without, it is a search for the input that kills workers."""
    delay: float = 0.0
    """Seconds to wait before it."""

    @property
    def seconds(self) -> float:
        """Length of its inputs."""
        return sum(item.seconds for item in self.items)


class Answer(NamedTuple):
    """Result of a try."""

    kind: Kind | None
    """None if it worked."""
    reason: str = ""
    record: Record | None = None


class Order(NamedTuple):
    """All that a worker needs to know; it is pickled."""

    work: Work
    store: Store
    """Folder of output."""
    digest: str
    """Digits of the plan's digest, for the names of files."""

    @classmethod
    def of(cls, plan: Plan, work: Work, store: Store) -> Order:
        """The order to work on a plan."""
        return cls(work, store, plan.stem(0).partition("-")[2])


class Worker:
    """A worker: the opened work, and the folder of output.

    Args:
        order: as it says.
    """

    def __init__(self, order: Order) -> None:
        self._call, self._store, self._digest = order.work.open(), order.store, order.digest

    def attempt(self, given: Try) -> Answer:
        """Do one try, and commit its files: each atomically, then the record."""
        writing = False
        try:
            stem = f"{given.number:06d}-{self._digest}"
            unit = Unit(stem, given.items, given.halved)
            made = self._call(unit) if given.items else Produced({})
            failed = {**given.failed, **made.failed}
            if not given.commit:
                return Answer(None)
            writing = True
            for name, content in sorted(made.files.items()):
                self._store.put(name, content)
            files = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(made.files.items())}
            inputs = len(given.items) + len(given.failed)
            record = Record(given.number, inputs, given.seconds, given.halved, files, dict(sorted(failed.items())))
            self._store.put(record_name(stem), record.to_json())
            return Answer(None, record=record)
        except Exception as error:
            return Answer(kind_of(error, writing=writing), reason_of(error))


def record_name(stem: str) -> str:
    """Name of a unit's record."""
    return f"{RECORDS}/{stem}.json"


def done_units(store: Store, plan: Plan) -> set[int]:
    """Numbers of the units that are done, by the names in the folder."""
    tail = f"-{plan.stem(0).partition('-')[2]}.json"
    names = (name.rpartition("/")[2] for name in store.names(RECORDS))
    return {int(name.partition("-")[0]) for name in names if name.endswith(tail) and name.partition("-")[0].isdigit()}


def output(store: Store, record: Record, name: str) -> bytes:
    """Content of a unit's file, held against its record. WorkError: it is another, or gone."""
    try:
        content = store.read(name)
    except FileNotFoundError as error:
        raise WorkError(
            f"{name} of unit {record.unit} is gone from {store}; remove its record, and run again"
        ) from error
    if hashlib.sha256(content).hexdigest() != record.files[name]:
        raise WorkError(f"{name} of unit {record.unit} in {store} is damaged; remove it and its record, and run again")
    return content


def settings_of(plan: Plan, kind: str) -> dict[str, Any]:
    """Settings of a plan of this kind of work. WorkError: it is of another."""
    if plan.kind != kind:
        raise WorkError(f"this is a plan to {plan.kind}, not to {kind}; name another folder")
    return dict(plan.settings)
