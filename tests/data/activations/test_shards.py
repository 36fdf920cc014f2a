"""Activations that are streamed: the same frames as in memory, in an order that is known, and never all at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from activations import sparse_frames, write_shards
from hypothesis import given
from hypothesis import strategies as st

from audiosae_steer.data.activations.shards import Frames, Shards, ShuffledBatches, open_shards
from audiosae_steer.errors import SteeringError
from audiosae_steer.models.sites import Site


@pytest.fixture(scope="module")
def frames() -> tuple[torch.Tensor, torch.Tensor]:
    return sparse_frames(3001, 1), sparse_frames(211, 2)


@pytest.fixture(scope="module")
def folder(frames, tmp_path_factory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), *frames, shards=7)


def numbered(*counts: int) -> Frames:
    """Frame i is (i, -i), in parts of these lengths."""
    total = torch.arange(sum(counts)).float()
    return Frames(torch.split(torch.stack([total, -total], dim=1), list(counts)), 2)


def test_shards_hold_what_memory_held(folder, frames):
    shards = open_shards(folder, 2)
    for side, expected in zip((shards.train, shards.held_out), frames, strict=True):
        assert (len(side), side.width) == expected.shape
        assert torch.equal(torch.cat(list(side.stream(100))), expected.float())
        assert torch.equal(side.read(side.blocks(33)), expected)
    assert shards.source["clips"] == 21
    assert len(open_shards(folder, Site(2)).train) == 3001


def test_a_sample_is_of_the_frames_and_is_seeded(folder, frames):
    train = open_shards(folder, 2).train
    sample = train.sample(400, seed=5)
    assert len(sample) == pytest.approx(400, abs=8)
    known = {tuple(row.tolist()) for row in frames[0].float()}
    assert {tuple(row.tolist()) for row in sample} <= known
    assert torch.equal(sample, train.sample(400, seed=5))
    assert not torch.equal(sample[:300], train.sample(400, seed=6)[:300])
    assert torch.equal(train.sample(10_000, seed=5), frames[0].float())


@given(
    counts=st.lists(st.integers(0, 150), min_size=1, max_size=6).filter(lambda counts: sum(counts) >= 16),
    batch=st.integers(1, 16),
    buffer=st.integers(1, 400),
    seed=st.integers(0, 9),
)
def test_every_pass_takes_every_frame_once_and_is_a_function_of_seed_and_step(counts, batch, buffer, seed):
    frames = numbered(*counts)
    order = ShuffledBatches(frames, batch, seed, buffer)
    steps = range(2 * order.per_pass)
    rows = [order.batch_of(step) for step in steps]
    assert all(torch.equal(row[:, 0], -row[:, 1]) for row in rows)
    taken = [row[:, 0].long().tolist() for row in rows]
    for turn in (0, 1):
        seen = [i for row in taken[turn * order.per_pass : (turn + 1) * order.per_pass] for i in row]
        assert len(set(seen)) == len(seen) == order.per_pass * batch
        assert set(seen) <= set(range(len(frames)))
    again = ShuffledBatches(frames, batch, seed, buffer)
    for step in reversed(steps):  # whatever was asked for before
        assert again.batch_of(step)[:, 0].long().tolist() == taken[step]


def test_passes_and_seeds_differ_and_neighbours_are_parted():
    frames = numbered(700, 300)
    order, other = ShuffledBatches(frames, 50, 1, 200), ShuffledBatches(frames, 50, 2, 200)
    first, second = order.batch_of(0)[:, 0], order.batch_of(20)[:, 0]
    assert not torch.equal(first, second)
    assert not torch.equal(first, other.batch_of(0)[:, 0])
    assert float((first[1:] - first[:-1]).abs().eq(1).float().mean()) < 0.2


def test_in_shards_or_in_memory_the_batches_are_the_same_where_the_parts_are(folder, frames):
    stored = open_shards(folder, 2).train
    ends = [part.frames for part in stored._parts]
    order, there = (
        ShuffledBatches(Frames(torch.split(frames[0], ends), 16), 64, 3, 512),
        ShuffledBatches(stored, 64, 3, 512),
    )
    for step in (0, 17, 46, 3, 99):
        assert torch.equal(order.batch_of(step), there.batch_of(step))
        assert there.batch_of(step).dtype == torch.float32


def peak(folder: Path, batch: int, buffer: int) -> tuple[int, int]:
    """Bytes that a pass over the batches takes at most, and that all frames would take."""
    train = open_shards(folder, 2).train
    order = ShuffledBatches(train, batch, 0, buffer)
    tracemalloc.start()
    try:
        for step in range(order.per_pass):
            order.batch_of(step)
        return tracemalloc.get_traced_memory()[1], len(train) * train.width * 2
    finally:
        tracemalloc.stop()


def test_memory_is_a_buffer_however_many_shards_there_are(tmp_path):
    d, buffer = 256, 1024
    one = torch.randn(4096, d).half()
    few, many = tmp_path / "few", tmp_path / "many"
    write_shards(few, one, one[:8], shards=4)
    write_shards(many, one.repeat(12, 1), one[:8], shards=48)
    small, _ = peak(few, 128, buffer)
    large, whole = peak(many, 128, buffer)
    held = buffer * d * 2
    assert held <= small  # the measure sees the buffer
    assert large < 1.3 * small + 100_000  # twelve times the frames; the list of their blocks grows by 16 bytes for 64
    assert large < whole / 8


def test_fewer_frames_than_a_batch_are_refused(frames):
    with pytest.raises(SteeringError, match="3001 frames are fewer than one batch of 4000; give more audio"):
        ShuffledBatches(Shards.of(*frames).train, 4000, 0)


def test_nothing_held_out_is_no_frames(frames):
    empty = Shards.of(frames[0], frames[0][:0]).held_out
    assert len(empty) == 0
    assert empty.blocks().shape == (0, 2)
    assert list(empty.stream()) == []


def test_what_is_missing_or_damaged_is_named(frames, tmp_path):
    with pytest.raises(SteeringError, match="no complete set"):
        open_shards(tmp_path / "absent", 2)
    with pytest.raises(SteeringError, match="no complete set"):
        open_shards(write_shards(tmp_path / "cut", *frames, shards=2, complete=False), 2)
    folder = write_shards(tmp_path / "whole", *frames, shards=3)
    with pytest.raises(SteeringError, match="no activations of layer 3"):
        open_shards(folder, 3)
    path = folder / "shard-00001.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SteeringError, match=r"shard-00001.safetensors is damaged .* collect anew"):
        open_shards(folder, 2)
    path.write_bytes(whole)
    opened = open_shards(folder, 2).train
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SteeringError, match="is damaged"):
        list(opened.stream())
    path.unlink()
    with pytest.raises(SteeringError, match="2 of 3 shards"):
        open_shards(folder, 2)


def test_spans_are_read_in_the_order_they_are_asked_for():
    frames = numbered(10, 10)
    rows = frames.read(np.array([[12, 15], [0, 2], [10, 11]]))
    assert rows[:, 0].tolist() == [12, 13, 14, 0, 1, 10]
