"""The engine `ray` on this machine: a handful of tests with one start of Ray; skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import os
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_work import AT_ONCE, Toy, content, impatient, names, top_and_total, toy_plan

from audiosae_steer.errors import MissingExtraError, WorkError
from audiosae_steer.io.units.ray_engine import Ray
from audiosae_steer.io.units.unit_reduce import reduce
from audiosae_steer.io.units.unit_run import RunSettings, run
from audiosae_steer.io.units.unit_store import FolderStore

FAST = RunSettings(retry=AT_ONCE)
INSTALLED = importlib.util.find_spec("ray") is not None
HELPERS = str(Path(__file__).parents[2] / "helpers")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    if not INSTALLED:
        pytest.skip("Ray is not installed here: pip install 'audiosae-steer[ray]'")
    import ray

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([HELPERS, *(path for path in sys.path if path)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own start
        for number in range(3):
            try:
                ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
                break
            except Exception:
                ray.shutdown()
                if number == 2:
                    raise
    try:
        yield ray
    finally:
        ray.shutdown()
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_bytes_of_one_process(cluster: Any, tmp_path: Path, notes: Path) -> None:
    plan, store, one = toy_plan([*names(20), "bad"]), FolderStore(tmp_path / "out"), FolderStore(tmp_path / "one")
    run(plan, Toy(str(notes)), store, Ray(workers=2), settings=FAST)
    reduce(plan, store, top_and_total, Ray(workers=2), fan_in=3, settings=FAST)
    run(plan, Toy(), one, settings=FAST)
    reduce(plan, one, top_and_total, fan_in=3, settings=FAST)
    assert content(store) == content(one)
    assert 1 <= len(list(notes.glob("opened-*"))) <= 2
    assert not (notes / f"opened-{os.getpid()}").exists()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_actors_that_die_or_hang(cluster: Any, tmp_path: Path, notes: Path) -> None:
    plan = toy_plan([*names(4), "kill once", "hang once", "z-kill"], seconds=30)
    store = FolderStore(tmp_path / "out")
    found = run(plan, Toy(str(notes)), store, Ray(workers=2), settings=RunSettings(retry=impatient(4.0)))
    assert [(unit, name) for unit, name, _ in found.failed] == [(2, "z-kill")]
    assert "its worker ended" in found.failed[0][2]
    assert len(store.names("texts")) == 6


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_actors_that_cannot_load(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="the workers cannot start: FileNotFoundError"):
        run(toy_plan(names(3)), Toy(str(tmp_path / "nowhere")), FolderStore(tmp_path / "out"), Ray(workers=1),
            settings=FAST)  # fmt: skip


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_the_drivers_memory_is_flat_while_ten_times_the_inputs_pass(cluster: Any, tmp_path: Path) -> None:
    peaks = []
    for units in (20, 200):
        plan = toy_plan([f"clip-{i:04d}" for i in range(units)], seconds=10)
        tracemalloc.start()
        run(plan, Toy(), FolderStore(tmp_path / f"{units}"), Ray(workers=2), settings=FAST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20  # a plan's own lines, and no more


@pytest.mark.skipif(INSTALLED, reason="Ray is installed here")
def test_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'audiosae-steer\[ray\]'"):
        run(toy_plan(names(3)), Toy(), FolderStore(tmp_path), Ray(), settings=FAST)
