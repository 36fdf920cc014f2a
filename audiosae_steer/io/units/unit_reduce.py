"""Reduction of units' outputs to one by a tree of merges, which are units too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from ...errors import WorkError
from ..progress import Tell
from .engine_pool import Engine
from .unit_plan import Item, Plan
from .unit_run import RunSettings, records, run, survey
from .unit_store import Store
from .unit_work import RECORDS, Produced, Record, Unit, output

FAN_IN = 16
"""Outputs that one merge joins."""
Files = Mapping[str, bytes]
"""Output of a unit: content by name, without the unit's own stem."""


class Merge(Protocol):
    """An associative, commutative merge; it is pickled to workers. The result is of the same form as its arguments."""

    def __call__(self, parts: Iterable[Files]) -> Files:
        """The outputs as one. Nothing but them is read, and equal outputs give equal bytes."""


class Inside(NamedTuple):
    """A folder within a folder of output."""

    store: Store
    folder: str

    def __str__(self) -> str:
        return f"{self.store}/{self.folder}"

    def names(self, under: str) -> list[str]:
        """Names of the files below a folder of it."""
        return [name[len(self.folder) + 1 :] for name in self.store.names(f"{self.folder}/{under}".rstrip("/"))]

    def has(self, name: str) -> bool:
        """True if the file is there."""
        return self.store.has(f"{self.folder}/{name}")

    def read(self, name: str) -> bytes:
        """Content of a file. FileNotFoundError: it is not there."""
        return self.store.read(f"{self.folder}/{name}")

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        """Write a file atomically."""
        self.store.put(f"{self.folder}/{name}", content, replace=replace)


@dataclass(frozen=True)
class MergeWork:
    """Merges of units' outputs, as work on units."""

    merge: Merge
    store: Store
    """Folder of the outputs that are merged."""

    def open(self) -> Callable[[Unit], Produced]:
        """The function of a unit."""
        return self._merged

    def _merged(self, unit: Unit) -> Produced:
        parts = (files_of(self.store, _read(self.store, item.name)) for item in unit.items)
        return Produced({f"{RECORDS}/{unit.stem}/{name}": content for name, content in self.merge(parts).items()})


def files_of(store: Store, record: Record) -> dict[str, bytes]:
    """Output of a unit by its names without the unit's stem, held against its record. WorkError: it is damaged."""
    return {name.rpartition("/")[2]: output(store, record, name) for name in record.files}


def reduce(
    plan: Plan, store: Store, merge: Merge, engine: Engine | None = None, *, fan_in: int = FAN_IN,
    settings: RunSettings | None = None, progress: Tell | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """The outputs of a plan's units as one, by merges of sixteen at a time, level by level; as resumable as the units.

    A unit's files go to the merge by the last part of their names. Units all of whose inputs failed have no part in it.

    Args:
        plan: of units that are all done.
        store: their folder; the levels lie in it, in `merge-1`, `merge-2` and so on.
        merge: joins outputs; associative, so that the result depends neither on the units nor on the tree.
        engine: who does it; by default this process.
        fan_in: outputs that one merge joins.
        settings: of the runs.
        progress: called with what is done, how many units are, and of how many.

    Raises:
        WorkError: a unit is missing or damaged, there is nothing to merge, a merge fails, or `store` holds
            other merges.
    """
    if fan_in < 2:
        raise WorkError(f"a merge of {fan_in} joins nothing; expected at least 2")
    found = survey(plan, store)
    if found.missing:
        raise WorkError(f"{len(found.missing)} units are missing; run them before they are merged")
    here: Store = store
    level = 0
    settings = settings or RunSettings()
    settings = replace(settings, part=(1, 1), retry=replace(settings.retry, quarantine=False))
    while True:
        items = list(_items(plan, here))
        if not items:
            raise WorkError("every input failed, so that there is nothing to merge; see failed.jsonl")
        if len(items) == 1:
            return files_of(here, _read(here, items[0].name))
        level += 1
        source, here = here, Inside(store, f"merge-{level}")
        plan = Plan.of("merge", {"of": plan.digest, "fan_in": fan_in}, items, seconds=fan_in)
        run(plan, MergeWork(merge, source), here, engine, settings=settings, progress=progress)


def _items(plan: Plan, store: Store) -> Iterable[Item]:
    """Inputs of the next level: the units with output, each marked by its record."""
    for record in records(plan, store, set(range(len(plan)))):
        if record.files:
            mark = hashlib.sha256(record.to_json()).hexdigest()
            yield Item(f"{RECORDS}/{plan.stem(record.unit)}.json", 1.0, mark)


def _read(store: Store, name: str) -> Record:
    return Record.from_json(store.read(name), f"{store}/{name}")
