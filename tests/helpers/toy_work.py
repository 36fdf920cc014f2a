"""Toy work on units, of which each engine must make the same bytes, and failures to inject into it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiosae_steer.io.units.process_engine import Processes
from audiosae_steer.io.units.seeded_choice import seed_of
from audiosae_steer.io.units.unit_plan import Item, Plan
from audiosae_steer.io.units.unit_run import RunSettings, run
from audiosae_steer.io.units.unit_store import FolderStore
from audiosae_steer.io.units.unit_tries import Retry
from audiosae_steer.io.units.unit_work import Produced, Unit

AT_ONCE = Retry(wait=0.0)


@dataclass(frozen=True)
class Toy:
    """Numbers drawn for each recording, as a file by unit and one by recording.

    A recording's name tells what goes wrong with it: "bad" is no audio; "raise" an error that nobody foresaw; "kill"
    ends its process by −9, "hang" never ends, and "kill once" and "hang once" do so until a note of it lies in `notes`.
    """

    notes: str = ""
    pause: float = 0.0

    def open(self) -> Callable[[Unit], Produced]:
        if self.notes:
            (Path(self.notes) / f"opened-{os.getpid()}").touch()
        return self._made

    def _made(self, unit: Unit) -> Produced:
        failed, lines, files = {}, [], {}
        for item in unit.items:
            time.sleep(self.pause)
            self._befall(item.name)
            if "bad" in item.name:
                failed[item.name] = "no audio"
                continue
            value = seed_of(0, item.name, "value") % 1000
            lines.append(json.dumps({"name": item.name, "value": value, "halved": unit.halved}))
            files[f"texts/{item.name}.txt"] = f"{value}\n".encode()
        files[f"units/{unit.stem}/rows.jsonl"] = "".join(f"{line}\n" for line in lines).encode()
        return Produced(files, failed)

    def _befall(self, name: str) -> None:
        if "raise" in name:
            raise ValueError(f"cannot cope with /some/where/{name}")
        for what in ("kill", "hang"):
            if what in name:
                note = Path(self.notes) / f"{name}.note"
                if "once" in name and note.is_file():
                    continue
                note.touch()
                if what == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(600)


def top_and_total(parts: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    """A merge: the five highest values, ties by name, with their count and sum."""
    rows, count, total = [], 0, 0
    for part in parts:
        if "merged.json" in part:
            one = json.loads(part["merged.json"])
            rows += [tuple(row) for row in one["top"]]
            count, total = count + one["count"], total + one["total"]
            continue
        own = [json.loads(line) for line in part["rows.jsonl"].splitlines()]
        rows += [(-each["value"], each["name"]) for each in own]
        count, total = count + len(own), total + sum(each["value"] for each in own)
    return {"merged.json": json.dumps({"top": sorted(rows)[:5], "count": count, "total": total}).encode()}


def toy_plan(names: Iterable[str], seconds: float = 30.0, **settings: Any) -> Plan:
    """A plan of recordings of 10 s: three a unit by default."""
    items = [Item(name, 10.0, hashlib.sha256(name.encode()).hexdigest()) for name in names]
    return Plan.of("toy", {"model": "none", **settings}, items, seconds=seconds)


def names(count: int) -> list[str]:
    return [f"clip-{i:02d}" for i in range(count)]


def content(store: FolderStore) -> dict[str, bytes]:
    """All files of a folder, temporaries too."""
    return {
        path.relative_to(store.folder).as_posix(): path.read_bytes()
        for path in sorted(store.folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class FailingStore(FolderStore):
    """A folder whose writing fails as it is told: by name of a file, the errors of the first calls."""

    errors: tuple[OSError, ...] = ()
    only: str = ""

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        left = list(self.errors)
        if left and self.only in name and name != "plan.json":
            error = left.pop(0)
            object.__setattr__(self, "errors", tuple(left))
            raise error
        super().put(name, content, replace=replace)


def impatient(seconds: float) -> Retry:
    return replace(AT_ONCE, least_seconds=seconds, pace=0.0)


def drive(out: str, notes: str) -> None:
    """A driver's life: 30 units of a recording each, by one worker."""
    settings = RunSettings(retry=AT_ONCE)
    engine = Processes(1, method="forkserver")
    run(toy_plan(names(30), seconds=10), Toy(notes, pause=0.05), FolderStore(Path(out)), engine, settings=settings)
