"""Runs on the in-process engine with injected failures: any partition, order and failures give the same bytes."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_work import AT_ONCE, FailingStore, Toy, content, names, top_and_total, toy_plan

from audiosae_steer.errors import WorkError
from audiosae_steer.io.units.local_engine import Local
from audiosae_steer.io.units.unit_failures import kind_of, reason_of
from audiosae_steer.io.units.unit_plan import Plan
from audiosae_steer.io.units.unit_reduce import reduce
from audiosae_steer.io.units.unit_run import RunSettings, run, survey
from audiosae_steer.io.units.unit_store import FolderStore, ObjectStore
from audiosae_steer.io.units.unit_work import Answer, Produced, Try, Unit, done_units

FAST = RunSettings(retry=AT_ONCE)


class Faults:
    """Losses and passing errors drawn at random, never so many of one try that they are the input's fault."""

    def __init__(self, rng: random.Random, share: float) -> None:
        self.rng, self.share = rng, share
        self.left: dict[Any, int] = {}

    def __call__(self, given: Try, when: str) -> Answer | None:
        left = self.left.setdefault((given.number, given.items), 2)
        if not left or self.rng.random() > self.share:
            return None
        self.left[given.number, given.items] = left - 1
        return Answer(self.rng.choice(["lost", "transient"]), f"injected {when}")


def reference(plan: Plan, folder: Path) -> dict[str, bytes]:
    store = FolderStore(folder)
    run(plan, Toy(), store, settings=FAST)
    return content(store)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 12), share=st.floats(0, 0.8), capacity=st.integers(1, 4))
def test_any_order_and_failures_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, share: float, capacity: int
) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("run")
    plan = toy_plan([*names(count), "clip-bad"], seconds=rng.choice([10, 30, 70]))
    store = FolderStore(folder / "other")
    engine = Local(Faults(rng, share), capacity, rng.randrange)
    found = run(plan, Toy(), store, engine, settings=FAST)
    assert found.is_done
    assert content(store) == reference(plan, folder / "one")
    shutil.rmtree(folder)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 14), fan_in=st.integers(2, 5))
def test_any_partition_gives_the_same_reduction(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, fan_in: int
) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("reduce")
    whole = top_and_total([top_and_total([_rows(names(count))])])
    plan = toy_plan([*names(count), "bad"], seconds=rng.choice([10, 20, 50]))
    store = FolderStore(folder)
    engine = Local(Faults(rng, 0.4), 3, rng.randrange)
    run(plan, Toy(), store, engine, settings=FAST)
    for _ in range(2):  # the second time nothing is left to do
        found = reduce(plan, store, top_and_total, engine, fan_in=fan_in, settings=FAST)
        assert top_and_total([found]) == whole
    shutil.rmtree(folder)


def _rows(clips: list[str]) -> dict[str, bytes]:
    made = Toy().open()(Unit("x", toy_plan(clips).items, False))
    return {"rows.jsonl": made.files["units/x/rows.jsonl"]}


def test_the_summary_is_last_and_tells_what_was_done(tmp_path: Path) -> None:
    plan = toy_plan(names(5))
    store = FolderStore(tmp_path)
    run(plan, Toy(), store, settings=RunSettings(part=(1, 2), retry=AT_ONCE))
    assert not store.has("summary.json")
    found = survey(plan, store)
    assert (found.missing, found.is_done, str(found)) == (
        (1,), False, "1 of 2 units done, 3 recordings (0.01 h), 0 failed")  # fmt: skip
    run(plan, Toy(), store, settings=RunSettings(part=(2, 2), retry=AT_ONCE))
    summary = json.loads(store.read("summary.json"))
    assert (summary["units"], summary["recordings"], summary["failed"], summary["seconds"]) == (2, 5, 0, 50.0)
    assert store.read("failed.jsonl") == b""


def test_shards_equal_the_whole_in_any_order(tmp_path: Path) -> None:
    plan = toy_plan([*names(11), "bad"])
    store = FolderStore(tmp_path / "shards")
    for i in (3, 1, 2):
        run(plan, Toy(), store, settings=RunSettings(part=(i, 3), retry=AT_ONCE))
    assert content(store) == reference(plan, tmp_path / "whole")


def test_a_run_that_is_cut_off_anywhere_goes_on(tmp_path: Path) -> None:
    plan = toy_plan([*names(7), "bad"])
    whole = reference(plan, tmp_path / "whole")
    for stop in range(len(whole)):
        store = _Cut(tmp_path / f"{stop}", stop)
        with pytest.raises(_CutOff):
            run(plan, Toy(), store, settings=FAST)
        done = done_units(FolderStore(tmp_path / f"{stop}"), plan)
        seen = _Seen()
        run(plan, Toy(), FolderStore(tmp_path / f"{stop}"), Local(seen), settings=FAST)
        assert content(store) == whole
        assert seen.numbers == sorted(set(range(len(plan))) - done)


class _Seen:
    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, given: Try, when: str) -> None:
        if when == "before":
            self.numbers.append(given.number)


class _CutOff(BaseException):
    """As −9 would, it is caught nowhere."""


class _Cut(FolderStore):
    """A folder at whose n-th write the driver is gone."""

    def __init__(self, folder: Path, stop: int) -> None:
        super().__init__(folder)
        object.__setattr__(self, "left", stop)

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        if not self.left:
            raise _CutOff
        object.__setattr__(self, "left", self.left - 1)
        super().put(name, content, replace=replace)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    plan, store = toy_plan(names(4)), FolderStore(tmp_path)
    run(plan, Toy(), store, settings=FAST)

    def never(given: Try, when: str) -> Answer:
        raise AssertionError(given)

    run(plan, Toy(), store, Local(never), settings=FAST)


def test_what_fails_for_good_is_quarantined(tmp_path: Path) -> None:
    plan, store = toy_plan(["a-bad", "b", "c", "d", "e-raise", "f", "g-raise"], seconds=60), FolderStore(tmp_path)
    found = run(plan, Toy(), store, settings=FAST)
    lines = [json.loads(line) for line in store.read("failed.jsonl").splitlines()]
    assert lines == [
        {"unit": 0, "recording": "a-bad", "reason": "no audio"},
        {"unit": 0, "recording": "e-raise", "reason": "ValueError: cannot cope with e-raise"},
        {"unit": 1, "recording": "g-raise", "reason": "ValueError: cannot cope with g-raise"},
    ]
    assert len(found.failed) == 3
    assert store.names("texts") == [f"texts/{name}.txt" for name in "bcdf"]


def test_too_many_failures_end_the_run(tmp_path: Path) -> None:
    plan, store = toy_plan([*names(8), "a-bad", "b-bad"]), FolderStore(tmp_path)
    with pytest.raises(WorkError, match=r"2 of 10 recordings failed, more than --max-failed 10%; see .*work status"):
        run(plan, Toy(), store, settings=RunSettings(max_failed=0.1, retry=AT_ONCE))
    with pytest.raises(WorkError, match="2 of 10"):  # those of the run before count
        run(plan, Toy(), store, settings=RunSettings(max_failed=0.1, retry=AT_ONCE))
    assert not store.has("summary.json")
    assert run(plan, Toy(), store, settings=RunSettings(max_failed=0.2, retry=AT_ONCE)).is_done


def test_a_unit_that_loses_three_workers_is_searched_for_its_culprit(tmp_path: Path) -> None:
    plan, store = toy_plan(names(8), seconds=80), FolderStore(tmp_path)
    asked: list[tuple[str, ...]] = []

    def faults(given: Try, when: str) -> Answer | None:
        if when == "before":
            asked.append(tuple(item.name for item in given.items))
            if "clip-05" in asked[-1]:
                return Answer("lost", "its worker ended by SIGKILL")
        return None

    found = run(plan, Toy(), store, Local(faults), settings=FAST)
    assert found.failed == ((0, "clip-05", "its worker ended by SIGKILL"),)
    assert len(store.names("texts")) == 7
    assert [len(each) for each in asked] == [8, 8, 8, 4, 4, 2, 1, 1, 1, 1, 2, 7]
    whole = run(toy_plan(names(8), seconds=80), Toy(), FolderStore(tmp_path / "x"), settings=FAST)
    assert whole.outputs != found.outputs


def test_inputs_that_fail_only_together_do_not_loop(tmp_path: Path) -> None:
    def faults(given: Try, when: str) -> Answer | None:
        return Answer("lost", "gone") if len(given.items) > 1 else None

    found = run(toy_plan(names(3)), Toy(), FolderStore(tmp_path), Local(faults), settings=FAST)
    assert [reason for _, _, reason in found.failed] == ["only together with others: gone"] * 3


def test_out_of_memory_is_tried_once_with_half_the_batch(tmp_path: Path) -> None:
    asked: list[bool] = []

    def faults(given: Try, when: str) -> Answer | None:
        if when == "before":
            asked.append(given.halved)
        return Answer("memory", "CUDA out of memory") if when == "before" and not given.halved else None

    store = FolderStore(tmp_path)
    found = run(toy_plan(names(3)), Toy(), store, Local(faults), settings=FAST)
    assert asked == [False, True]
    assert found.failed == ()
    rows = next(name for name in store.names("units") if name.endswith("rows.jsonl"))
    assert all(json.loads(line)["halved"] for line in store.read(rows).splitlines())


def test_what_does_not_pass_leaves_its_unit_missing_and_the_others_done(tmp_path: Path) -> None:
    def faults(given: Try, when: str) -> Answer | None:
        return Answer("transient", "503") if given.number == 1 and when == "before" else None

    plan, store = toy_plan(names(9)), FolderStore(tmp_path)
    with pytest.raises(WorkError, match=r"1 units could not be done .*\(unit 1: 503\).*run the same command again"):
        run(plan, Toy(), store, Local(faults, 2), settings=FAST)
    assert survey(plan, store).missing == (1,)
    assert run(plan, Toy(), store, settings=FAST).is_done


@pytest.mark.parametrize("only", ["units/", "texts/"])
def test_errors_of_the_disk_that_pass_are_retried(tmp_path: Path, only: str) -> None:
    plan = toy_plan(names(4))
    store = FailingStore(tmp_path / "other", (OSError(errno.EIO, "I/O"), ConnectionResetError("reset")), only)
    run(plan, Toy(), store, settings=FAST)
    assert not store.errors
    assert content(store) == reference(plan, tmp_path / "one")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_full_disk_and_a_read_only_folder_end_the_run_and_nothing_is_lost(tmp_path: Path, number: int) -> None:
    plan = toy_plan([*names(7), "bad"])
    store = FailingStore(tmp_path / "other", (OSError(number, os.strerror(number)),), "000001")
    with pytest.raises(WorkError, match="cannot be written.*what is done stays, and the same command goes on"):
        run(plan, Toy(), store, settings=FAST)
    assert survey(plan, store).missing == (1, 2)
    run(plan, Toy(), store, settings=FAST)
    assert content(store) == reference(plan, tmp_path / "one")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(WorkError, match="cannot write .*choose another folder"):
        run(toy_plan(names(2)), Toy(), FolderStore(tmp_path / "out"), settings=FAST)


def test_two_drivers_on_one_folder(tmp_path: Path) -> None:
    """The second begins and ends while the first one has a unit done that it has not been told of."""
    plan = toy_plan(names(8))
    store = FolderStore(tmp_path / "other")
    begun: list[int] = []

    def meanwhile(given: Try, when: str) -> Answer | None:
        if when == "before" and not begun:
            begun.append(1)
            assert run(plan, Toy(), FolderStore(tmp_path / "other"), settings=FAST).is_done
        return None

    assert run(plan, Toy(), store, Local(meanwhile), settings=FAST).is_done
    assert content(store) == reference(plan, tmp_path / "one")


def test_a_unit_is_a_function_of_the_plan(tmp_path: Path) -> None:
    """A work that keeps state between units fails the property that the toy passes."""

    class Stateful(Toy):
        def open(self) -> Any:
            seen: list[str] = []

            def made(unit: Unit) -> Produced:
                seen.append(unit.stem)
                return Produced({f"units/{unit.stem}.txt": str(len(seen)).encode()})

            return made

    plan = toy_plan(names(9))
    outputs = set()
    for i in range(3):
        engine = Local(None, 3, lambda n, i=i: i % n)
        outputs.add(run(plan, Stateful(), FolderStore(tmp_path / f"{i}"), engine, settings=FAST).outputs)
    assert len(outputs) > 1


def test_damaged_output_is_not_merged(tmp_path: Path) -> None:
    plan, store = toy_plan(names(9)), FolderStore(tmp_path)
    with pytest.raises(WorkError, match="3 units are missing"):
        reduce(plan, store, top_and_total, settings=FAST)
    run(plan, Toy(), store, settings=FAST)
    wrong = tmp_path / "units" / plan.stem(1) / "rows.jsonl"
    right = wrong.read_bytes()
    wrong.write_bytes(right[:-5])
    with pytest.raises(WorkError, match="rows.jsonl of unit 1 .* is damaged"):
        reduce(plan, store, top_and_total, settings=FAST)
    wrong.write_bytes(right)
    reduce(plan, store, top_and_total, settings=FAST)
    (tmp_path / "units" / f"{plan.stem(2)}.json").write_text("{")
    with pytest.raises(WorkError, match="is damaged .*; remove it"):
        survey(plan, store)


def test_an_object_store_creates_only(tmp_path: Path) -> None:
    """fsspec's own store in memory, whose create is refused where the file is there."""
    plan = toy_plan([*names(7), "bad"])
    store = ObjectStore(f"memory://{tmp_path.name}")
    run(plan, Toy(), store, Local(Faults(random.Random(1), 0.5)), settings=FAST)
    whole = reference(plan, tmp_path / "one")
    assert {name: store.read(name) for name in store.names("")} == whole
    store.put("plan.json", b"other")
    assert store.read("plan.json") == whole["plan.json"]
    assert top_and_total([reduce(plan, store, top_and_total, fan_in=2, settings=FAST)]) == top_and_total(
        [reduce(plan, FolderStore(tmp_path / "one"), top_and_total, settings=FAST)]
    )


class _Answered(Exception):
    def __init__(self, status: int) -> None:
        super().__init__("from a server")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


def test_kinds_of_failure() -> None:
    assert kind_of(ConnectionResetError()) == "transient"
    assert kind_of(_Answered(503)) == kind_of(_Answered(429), writing=True) == "transient"
    assert kind_of(_Answered(403)) == "permanent"
    assert kind_of(_Answered(403), writing=True) == "fatal"
    assert kind_of(MemoryError()) == kind_of(RuntimeError("CUDA out of memory. Tried to allocate")) == "memory"
    assert kind_of(OSError(errno.ENOSPC, "full")) == "fatal"  # of a temporary folder, which all units need
    assert kind_of(OSError(errno.EACCES, "no")) == "permanent"  # of one recording
    assert kind_of(OSError(errno.EACCES, "no"), writing=True) == "fatal"
    caused = ValueError("x")
    caused.__cause__ = TimeoutError()
    assert kind_of(caused) == "transient"
    assert reason_of(ValueError("bad /home/me/there.wav\nmore")) == "ValueError: bad there.wav"
