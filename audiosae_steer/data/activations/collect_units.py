"""Collection of activations in units: shards on one process, several, or Ray, with the bytes of a collection by one."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ...errors import AudioSAESteerWarning, WorkError
from ...io.progress import Tell
from ...io.units.engine_pool import Engine
from ...io.units.local_engine import Local
from ...io.units.unit_plan import PLAN, Item, Plan
from ...io.units.unit_run import RunSettings, records, run
from ...io.units.unit_store import FolderStore
from ...io.units.unit_work import Produced, Unit
from ...io.units.worker_threads import worker_threads
from ...models.sites import Site
from ..audio import SAMPLE_RATE
from ..windows import Window
from .extraction import CollectSettings, Extractor
from .manifest import SHARD, shard_path
from .shards import shard_bytes

KIND = "collect"
"""Name of this work in plans."""
WORK = "work"
"""Folder of the plan and of the records of units, within that of the shards."""


class Collected(NamedTuple):
    """Shards of a finished collection."""

    shards: int
    failed: int
    """Windows that could not be read or encoded, and are in none."""


@dataclass(frozen=True)
class ShardStore:
    """A folder of activations as units write it: shards in it, and all else in a folder within it."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def names(self, under: str) -> list[str]:
        """Names of the files that are no shards, below a folder."""
        return FolderStore(self.folder / WORK).names(under)

    def has(self, name: str) -> bool:
        """True if the file is there."""
        return self._of(name).has(name)

    def read(self, name: str) -> bytes:
        """Content of a file. FileNotFoundError: it is not there."""
        return self._of(name).read(name)

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        """Write a file atomically. WorkError: it cannot be written."""
        self._of(name).put(name, content, replace=replace)

    def _of(self, name: str) -> FolderStore:
        return FolderStore(self.folder if name.startswith(SHARD) else self.folder / WORK)


@dataclass(frozen=True)
class CollectWork:
    """Collection of shards, as work on units."""

    model: nn.Module | bytes
    """The model, or, for workers elsewhere, pickled."""
    sites: tuple[Site, ...]
    windows: tuple[Window, ...]
    """Windows of the whole collection, in the order of the shards."""
    settings: CollectSettings
    size: int
    """Windows in a shard."""
    folder: Path
    """Folder of the shards."""
    threads: int

    def open(self) -> Callable[[Unit], Produced]:
        """The function of a unit."""
        model = pickle.loads(self.model) if isinstance(self.model, bytes) else self.model
        extractor = Extractor(model=model, sites=self.sites, windows=self.windows, settings=self.settings)
        return lambda unit: self._made(extractor, unit)

    def _made(self, extractor: Extractor, unit: Unit) -> Produced:
        number = int(unit.stem.partition("-")[0])
        path = shard_path(self.folder, number)
        whole = self.windows[number * self.size : (number + 1) * self.size]
        if path.is_file() and len(unit.items) == len(whole):  # made without an engine, or by a run that was cut off
            return Produced({path.name: path.read_bytes()})
        if unit.halved:
            extractor = replace(extractor, settings=replace(self.settings, batch=max(self.settings.batch // 2, 1)))
        named = {extractor.draws.name(window): window for window in whole}
        with worker_threads(self.threads):
            tensors = extractor.shard([named[item.name] for item in unit.items])
        return Produced({path.name: shard_bytes(tensors)})


def in_units(folder: Path) -> bool:
    """True if a collection was begun in units there."""
    return (folder / WORK / PLAN).is_file()


def collect_in_units(
    extractor: Extractor, known: Mapping[str, Any], folder: Path, size: int, engine: Engine, *, threads: int = 1,
    settings: RunSettings | None = None, progress: Tell | None = None,
) -> Collected:  # fmt: skip
    """Write the shards that are not there yet; a unit is a shard, so that any engine writes the same files.

    Windows that cannot be read or encoded are left out, and named in `work/failed.jsonl`.

    Args:
        extractor: the collection.
        known: settings of the manifest, which the plan holds as well.
        folder: folder of the shards, on a disk that all workers see.
        size: windows in a shard.
        engine: who does it.
        threads: of each worker.
        settings: of the run.
        progress: called with what is done, how many units are, and of how many.

    Raises:
        WorkError: the folder is of another plan, units could not be done, or the model cannot be sent to workers.
        MissingExtraError: the engine is not installed.
    """
    plan = _plan(extractor, dict(known) | {"batch": extractor.settings.batch, "threads": threads}, size)
    absolute = tuple(window._replace(path=window.path.absolute()) for window in extractor.windows)
    model = extractor.model if isinstance(engine, Local) else _pickled(extractor.model)
    place = folder.absolute()
    work = CollectWork(model, tuple(extractor.sites), absolute, extractor.settings, size, place, threads)
    store = ShardStore(place)
    found = run(plan, work, store, engine, settings=settings, progress=progress)
    if not found.is_done:
        raise WorkError(f"{len(found.missing)} units of {folder} are missing; run the same command again")
    count = 0
    for record in records(plan, store, set(range(len(plan)))):
        for name in record.files:
            if not store.has(name):
                raise WorkError(f"{name} is gone from {folder}; empty the folder, and collect anew")
            count += 1
    return Collected(count, len(found.failed))


def _plan(extractor: Extractor, settings: Mapping[str, Any], size: int) -> Plan:
    """The plan of a collection. Its units keep the order of the audio, since training takes shards in order."""
    draws, windows = extractor.draws, extractor.windows
    items = tuple(Item(draws.name(window), window.length / SAMPLE_RATE, "") for window in windows)
    sizes = tuple(len(items[start : start + size]) for start in range(0, len(items), size))
    return Plan(KIND, settings, items, sizes)


def _pickled(model: nn.Module) -> bytes:
    """A model for workers elsewhere. WorkError: it cannot be sent, or not as it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AudioSAESteerWarning)  # a pickled model leaves its steering behind
            return pickle.dumps(model)
    except Exception as error:
        raise WorkError(f"this model cannot be sent to workers ({type(error).__name__}: {error}); remove its steering "
                        'and hooks, or take the engine "local"') from error  # fmt: skip
