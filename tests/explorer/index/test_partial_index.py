"""Partial indices: byte-equal files whatever the partition; and what cannot be merged is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_parts import CLIPS, FEATURES, LAYERS, clip, facts, files_in, found_in, part_of

from audiosae_steer.errors import SteeringError
from audiosae_steer.explorer.index.index_assembly import assemble
from audiosae_steer.explorer.index.part_files import ABOUT, read_part, write_part
from audiosae_steer.explorer.index.partial_index import PartialIndex, merged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], bytes]:
    """Parquet files and SQLite file of all clips at once."""
    folder = tmp_path_factory.mktemp("whole")
    index = part_of(range(CLIPS))
    write_part(index, folder / "shards")
    assemble(index, found_in(index), folder / "index.sqlite")
    return files_in(folder / "shards"), (folder / "index.sqlite").read_bytes()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_partition_merged_in_any_order_is_byte_equal(
    data: st.DataObject, whole: tuple[dict[str, bytes], bytes], tmp_path: Path
) -> None:
    of = data.draw(st.lists(st.integers(0, 4), min_size=CLIPS, max_size=CLIPS))
    order = data.draw(st.permutations(range(CLIPS)))
    names = data.draw(st.permutations(sorted(set(of))))
    parts = [part_of([number for number in order if of[number] == name]) for name in names]
    nested = data.draw(st.booleans())
    index = merged([parts[0], merged(parts[1:])]) if nested and len(parts) > 2 else merged(parts)
    write_part(index, tmp_path / "shards")
    assert files_in(tmp_path / "shards") == whole[0]
    assemble(index, found_in(index), tmp_path / "index.sqlite")
    assert (tmp_path / "index.sqlite").read_bytes() == whole[1]


def test_files_bring_back_the_index(whole: tuple[dict[str, bytes], bytes], tmp_path: Path) -> None:
    """Parts on disk, merged, are byte-equal too: sound and pictures are read from their files."""
    for name, numbers in {"b": range(7, CLIPS), "a": range(7)}.items():
        write_part(part_of(numbers), tmp_path / name)
    index = merged(read_part(tmp_path / name) for name in ("b", "a"))
    write_part(index, tmp_path / "shards")
    assert files_in(tmp_path / "shards") == whole[0]
    assemble(index, found_in(index), tmp_path / "index.sqlite")
    assert (tmp_path / "index.sqlite").read_bytes() == whole[1]


def test_a_sum_in_floating_point_would_not_be_the_same() -> None:
    """The sum of activations is in whole numbers: in float32 it depends on the order."""
    values = np.random.default_rng(0).gamma(2, 1, 4000).astype(np.float32)
    orders = [np.random.default_rng(seed).permutation(values) for seed in range(5)]
    assert len({float(np.cumsum(order, dtype=np.float32)[-1]) for order in orders}) > 1
    assert len({int(np.round(order.astype(np.float64) * 65536).astype(np.int64).sum()) for order in orders}) == 1


def test_merging_says_what_is_wrong() -> None:
    part = part_of([0, 1])
    with pytest.raises(SteeringError, match="no partial indices"):
        merged([])
    with pytest.raises(SteeringError, match="take-0.wav at 30 s is in both"):
        merged([part, part_of([1, 2])])
    other = PartialIndex(replace(facts(), model="another"), {}, {})
    with pytest.raises(SteeringError, match="different models, SAEs or settings"):
        merged([part, other])


def test_an_empty_part_changes_nothing(tmp_path: Path) -> None:
    part = part_of([3, 4])
    for name, index in {"one": part, "other": merged([PartialIndex.none(facts()), part])}.items():
        write_part(index, tmp_path / name)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "other")
    write_part(PartialIndex.none(facts()), tmp_path / "none")
    assert not read_part(tmp_path / "none").clips


def test_damage_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    write_part(part_of([0, 1]), folder)
    shard = folder / "examples-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(SteeringError, match="damaged"):
        read_part(folder)
    shard.unlink()
    with pytest.raises(SteeringError, match="no examples-00000"):
        read_part(folder)
    (folder / ABOUT).write_text("{}")
    with pytest.raises(SteeringError, match="no index that can be read"):
        read_part(folder)


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SteeringError, match="other files"):
        write_part(part_of([0]), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_content_is_that_of_the_residuals() -> None:
    """Of the whole, each feature's best clip and counts are those of the clips one by one."""
    index = part_of(range(CLIPS))
    for layer in LAYERS:
        own = index.layers[layer]
        singles = [part_of([number]).layers[layer] for number in range(CLIPS)]
        assert own.tally.fired.tolist() == sum(each.tally.fired for each in singles).tolist()
        for feature in range(FEATURES):
            peaks = {
                clip(number).key: float(each.fired.value[each.fired.feature == feature][0])
                for number, each in enumerate(singles)
                if (each.fired.feature == feature).any()
            }
            rows = own.fired.feature == feature
            if peaks:
                assert own.fired.clip[rows][0] == max(peaks, key=lambda key: peaks[key])
            near = own.near.clip[own.near.feature == feature]
            assert not set(near.tolist()) & set(peaks)
            assert len(near) == min(2, CLIPS - len(peaks))
