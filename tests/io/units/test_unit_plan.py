"""Plans: cut by duration and deterministically, kept in a file, and refused where another one is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_work import AT_ONCE, Toy, names, toy_plan

from audiosae_steer.errors import MissingExtraError, WorkError
from audiosae_steer.io.units.seeded_choice import seed_of
from audiosae_steer.io.units.unit_plan import Item, Plan, claim, share
from audiosae_steer.io.units.unit_run import RunSettings, run
from audiosae_steer.io.units.unit_store import FolderStore, open_store

FAST = RunSettings(retry=AT_ONCE)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.floats(1, 200), st.randoms())
def test_units_hold_every_input_once_and_are_no_longer_than_asked(
    lengths: list[float], most: float, shuffler: random.Random
) -> None:
    items = [Item(f"{i:03d}", seconds, "x") for i, seconds in enumerate(lengths)]
    plan = Plan.of("toy", {}, items, seconds=most)
    units = [plan.unit(number) for number in range(len(plan))]
    assert [item for unit in units for item in unit] == items
    assert all(len(unit) == 1 or sum(item.seconds for item in unit) <= most * (1 + 1e-9) for unit in units)
    shuffler.shuffle(items)
    assert Plan.of("toy", {}, items, seconds=most) == plan


def test_a_file_holds_the_whole_plan() -> None:
    plan = toy_plan(['a/é"[.wav', *names(4)], recipe={"name": "x", "strength": 0.1})
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.digest == plan.digest


def test_the_digest_is_of_all_that_changes_the_output() -> None:
    plans = [
        toy_plan(names(6)),
        toy_plan(names(7)),
        toy_plan(names(6), seconds=20),
        toy_plan(names(6), dtype="bfloat16"),
        Plan.of("toy", {"model": "none"}, [Item(name, 10.0, "changed") for name in names(6)], seconds=30),
        Plan.of("other", {"model": "none"}, toy_plan(names(6)).items, seconds=30),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    moved = Plan.of("toy", {"model": "none"}, toy_plan(names(6)).items, seconds=30, source="/elsewhere")
    assert moved.digest == plans[0].digest


def test_a_changed_recipe_in_a_half_done_folder_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    run(toy_plan(names(6), recipe="one"), Toy(), store, settings=RunSettings(part=(1, 2), retry=AT_ONCE))
    before = store.names("")
    changed = {"clip-00": "clip-99"}
    for other, words in (
        (toy_plan(names(6), recipe="two"), r'another plan: other are recipe \("one", not "two"\); name another folder'),
        (toy_plan(names(5), recipe="one"), r"1 recordings that are gone \(such as clip-05\)"),
        (toy_plan([changed.get(n, n) for n in names(6)], recipe="one"), r"that are gone .*that are new"),
        (toy_plan(names(6), seconds=20, recipe="one"), r"cut into units \(2 units, not 3\)"),
    ):
        with pytest.raises(WorkError, match=words):
            run(other, Toy(), store, settings=FAST)
    assert store.names("") == before
    run(toy_plan(names(6), recipe="one"), Toy(), store, settings=FAST)


def test_folders_with_other_files_and_damaged_plans_are_refused(tmp_path: Path) -> None:
    plan = toy_plan(names(3))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(WorkError, match="holds other files"):
        claim(FolderStore(tmp_path / "mine"), plan)
    store = FolderStore(tmp_path / "out")
    claim(store, plan)
    text = (tmp_path / "out" / "plan.json").read_text()
    for wrong, words in ((text[:50], "no plan that can be read"), (text.replace("clip-00", "clip-zz"), "was changed")):
        (tmp_path / "out" / "plan.json").write_text(wrong)
        with pytest.raises(WorkError, match=words):
            claim(store, plan)


def test_wrong_plans() -> None:
    item = Item("a", 1.0, "x")
    with pytest.raises(WorkError, match="nothing to work on"):
        Plan.of("toy", {}, [])
    with pytest.raises(WorkError, match="a is there twice"):
        Plan.of("toy", {}, [item, item._replace(mark="y")])
    with pytest.raises(WorkError, match="holds nothing"):
        Plan.of("toy", {}, [item], seconds=0)
    with pytest.raises(WorkError, match="password, which plans never do"):
        Plan.of("toy", {}, [item], source="ftp://me:secret@host/x")
    with pytest.raises(WorkError, match="part 3/2 does not exist"):
        share(range(4), (3, 2))
    with pytest.raises(WorkError, match="nope:// cannot be read"):
        open_store("nope://x/y")


def test_the_extra_that_reads_an_object_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core

    def missing(*_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'audiosae-steer\[s3\]'"):
        open_store("s3://bucket/x")


def test_random_choices_depend_on_the_recording_and_the_purpose_alone() -> None:
    assert seed_of(0, "a.wav", "gain") == seed_of(0, "a.wav", "gain") == 6657081424138343212
    others = {seed_of(0, "a.wav", "gain"), seed_of(1, "a.wav", "gain"), seed_of(0, "b.wav", "gain"),
              seed_of(0, "a.wav", "noise"), seed_of(0, "a.wavg", "ain")}  # fmt: skip
    assert len(others) == 5
