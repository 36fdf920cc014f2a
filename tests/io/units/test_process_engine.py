"""The engine `processes`: the same bytes as in one process, whatever is killed or hangs."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_work import AT_ONCE, Toy, content, drive, impatient, names, toy_plan

from audiosae_steer.errors import WorkError
from audiosae_steer.io.units.process_engine import Processes
from audiosae_steer.io.units.unit_run import RunSettings, run
from audiosae_steer.io.units.unit_store import FolderStore

FAST = RunSettings(retry=AT_ONCE)
FORKS = Processes(2, method="forkserver")
"""Replaces lost workers without loading torch anew."""


def reference(plan: object, folder: Path) -> dict[str, bytes]:
    store = FolderStore(folder)
    run(plan, Toy(), store, settings=FAST)  # type: ignore[arg-type]
    return content(store)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def opened(notes: Path) -> set[int]:
    """Processes that have opened the work."""
    return {int(path.name.removeprefix("opened-")) for path in notes.glob("opened-*")}


def test_two_processes_give_the_bytes_of_one_and_open_the_work_once_each(tmp_path: Path, notes: Path) -> None:
    plan, store = toy_plan([*names(20), "bad"]), FolderStore(tmp_path / "out")
    run(plan, Toy(str(notes)), store, FORKS, settings=FAST)
    assert content(store) == reference(plan, tmp_path / "one")
    assert 1 <= len(opened(notes)) <= 2
    assert os.getpid() not in opened(notes)


def test_workers_that_die_or_hang_once_cost_a_retry_and_those_that_always_do_their_recording(
    tmp_path: Path, notes: Path
) -> None:
    clips = [*names(4), "kill once", "hang once", "z-kill"]
    plan, store = toy_plan(clips, seconds=30), FolderStore(tmp_path / "out")
    settings = RunSettings(retry=impatient(1.5))
    found = run(plan, Toy(str(notes)), store, FORKS, settings=settings)
    assert found.failed == ((2, "z-kill", "its worker ended by SIGKILL"),)
    assert len(store.names("texts")) == 6
    assert {path.name for path in notes.glob("*.note")} == {"kill once.note", "hang once.note", "z-kill.note"}


def test_a_recording_on_which_workers_hang_is_quarantined(tmp_path: Path, notes: Path) -> None:
    plan, store = toy_plan(["a", "hang"], seconds=10), FolderStore(tmp_path / "out")
    begun = time.monotonic()
    found = run(plan, Toy(str(notes)), store, FORKS, settings=RunSettings(retry=impatient(0.3)))
    assert found.failed == ((1, "hang", "it took too long and was stopped"),)
    assert time.monotonic() - begun < 120


def test_workers_killed_at_random_moments(tmp_path: Path, notes: Path) -> None:
    """−9 on some worker, 20 times; each costs its unit a try, so that only three of one unit would show."""
    plan, store = toy_plan([*names(60), "bad"], seconds=20), FolderStore(tmp_path / "out")
    rng, killed, over = random.Random(0), [], threading.Event()

    def kill() -> None:
        while len(killed) < 20 and not over.wait(rng.uniform(0.0, 0.05)):
            alive = sorted(opened(notes) - set(killed))
            if alive:
                killed.append(rng.choice(alive))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        run(plan, Toy(str(notes), pause=0.02), store, FORKS,
            settings=RunSettings(retry=AT_ONCE.__class__(wait=0.0, times=30)))  # fmt: skip
    finally:
        over.set()
        thread.join()
    assert len(killed) >= 10
    assert content(store) == reference(plan, tmp_path / "one")


@contextmanager
def driver(out: Path, notes: Path) -> Iterator[Any]:
    """A driver in a process of its own, which does 30 units by one worker; forked from one that has torch loaded."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["audiosae_steer.io.units.process_engine"])
    process = context.Process(target=drive, args=(str(out), str(notes)))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def done(out: Path) -> int:
    """Units whose records are there."""
    return len(list((out / "units").glob("[!.]*.json")))


def test_drivers_killed_at_several_moments_leave_no_workers_and_are_resumed(tmp_path: Path, notes: Path) -> None:
    """As the plan is written, while workers load; and twice at random within units."""
    out, plan, rng = tmp_path / "out", toy_plan(names(30), seconds=10), random.Random(0)
    moments = (lambda: (out / "plan.json").is_file(), lambda: done(out) >= 4, lambda: done(out) >= 12)
    counts = []
    for moment in moments:
        with driver(out, notes) as process:
            _until(moment)
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
        for worker in opened(notes):
            _until(lambda worker=worker: not _lives(worker))
        counts.append(done(out))
    assert 0 == counts[0] < 4 <= counts[1] < 12 <= counts[2] < 30
    assert len(opened(notes)) in (2, 3)  # that of the first driver may have loaded, and found its driver gone
    run(plan, Toy(), FolderStore(out), settings=FAST)
    store, whole = FolderStore(out), reference(plan, tmp_path / "one")
    assert {name: store.read(name) for name in store.names("")} == whole  # a killed writer may leave a temporary


def test_two_live_drivers_on_one_folder(tmp_path: Path, notes: Path) -> None:
    out, plan = tmp_path / "out", toy_plan(names(30), seconds=10)
    with driver(out, notes) as one, driver(out, notes) as other:
        for process in (one, other):
            process.join(60)
        assert (one.exitcode, other.exitcode) == (0, 0)
    assert len(opened(notes)) == 2
    assert content(FolderStore(out)) == reference(plan, tmp_path / "one")


def test_workers_that_cannot_load_end_the_run(tmp_path: Path) -> None:
    plan = toy_plan(names(3))
    with pytest.raises(WorkError, match="the workers cannot start: FileNotFoundError"):
        run(plan, Toy(str(tmp_path / "nowhere")), FolderStore(tmp_path / "out"), FORKS, settings=FAST)


def _until(what: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
