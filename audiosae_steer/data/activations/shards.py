"""Shards of activations: written one by one, read as shuffled batches for training or as blocks in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import CheckpointError, SteeringError
from ...io.files import atomic_file
from ...io.tensors.safetensors_header import read_header
from ...models.sites import Site
from .manifest import SIDES, complete_manifest, shards_in, site_key, tensor_name

BLOCK = 64
"""Neighbouring frames that are read in one piece: 1.3 s of a Whisper, 98 kB of Whisper-small."""
BUFFER = 131_072
"""Frames that are shuffled among each other by default: 201 MB of Whisper-small."""

Spans = NDArray[np.int64]


class Activations(NamedTuple):
    """Residual frames of one layer, in memory."""

    train: Tensor
    """(frames, d_model) float16."""
    held_out: Tensor
    """(frames, d_model) float16, of recordings that `train` has no part of."""


class StoredFrames(NamedTuple):
    """Frames of one tensor in a shard."""

    path: Path
    """The shard."""
    key: str
    """The tensor's name in the file."""
    frames: int
    """Its frames."""


class Frames:
    """Residual frames (frames, d_model) of one layer, in memory or on disk; nothing read from disk is kept.

    Args:
        parts: tensors (frames, d_model), in memory or stored.
        width: d_model.
    """

    def __init__(self, parts: Sequence[Tensor | StoredFrames], width: int) -> None:
        self.width = width
        self._parts = [_readable(part) for part in parts if _count(part)]
        self._ends = np.cumsum([0, *map(_count, self._parts)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def blocks(self, size: int = BLOCK) -> Spans:
        """Spans (spans, 2) of at most `size` frames, from first to last (exclusive), that together hold all frames."""
        starts = [np.arange(a, b, size) for a, b in zip(self._ends[:-1], self._ends[1:], strict=True)]
        stops = [np.minimum(s + size, b) for s, b in zip(starts, self._ends[1:], strict=True)]
        if not starts:
            return np.zeros((0, 2), np.int64)
        return np.stack([np.concatenate(starts), np.concatenate(stops)], axis=1)

    def read(self, spans: Spans) -> Tensor:
        """The frames (frames, d_model) of spans, in the spans' order and their own dtype; a span lies within one part.

        Raises:
            SteeringError: a shard is damaged.
        """
        lengths = spans[:, 1] - spans[:, 0]
        places = np.cumsum(lengths) - lengths
        part_of = np.searchsorted(self._ends, spans[:, 0], side="right") - 1
        rows: Any = None
        for number in np.unique(part_of):
            first = self._ends[number]
            with _opened(self._parts[number]) as stored:
                for i in np.flatnonzero(part_of == number):
                    piece = stored[int(spans[i, 0] - first) : int(spans[i, 1] - first)]
                    if rows is None:
                        rows = np.empty((int(lengths.sum()), self.width), piece.dtype)
                    rows[places[i] : places[i] + lengths[i]] = piece
        return torch.zeros(0, self.width) if rows is None else torch.from_numpy(rows)

    def stream(self, size: int = 4096) -> Iterator[Tensor]:
        """All frames in order, in float32, `size` at a time."""
        for span in self.blocks(size):
            yield self.read(span[None]).float()

    def sample(self, count: int, seed: int, block: int = 8) -> Tensor:
        """About `count` frames in float32, drawn in short blocks; all of them, in order, if there are no more."""
        spans = self.blocks(block)
        if len(self) > count:
            drawn = np.random.default_rng([seed, len(self)]).permutation(len(spans))
            spans = spans[np.sort(drawn[: max(count // block, 1)])]
        return self.read(spans).float()


class Shards(NamedTuple):
    """Activations of one layer, read on demand."""

    train: Frames
    held_out: Frames
    """Of recordings that `train` has no part of."""
    source: dict[str, Any]
    """The manifest of their collection; empty where there is none."""

    @classmethod
    def of(cls, train: Tensor, held_out: Tensor) -> Shards:
        """Activations (frames, d_model) from tensors in memory."""
        return cls(Frames([train], train.shape[1]), Frames([held_out], train.shape[1]), {})


def write_shard(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a shard's tensors atomically.

    Raises:
        SteeringError: it cannot be written.
    """
    with atomic_file(path, SteeringError) as part:
        part.write_bytes(shard_bytes(tensors))  # of a full disk, save_file's error is no OSError


def shard_bytes(tensors: dict[str, Tensor]) -> bytes:
    """A shard's file, of its tensors (frames, d_model) by name."""
    from safetensors.torch import save

    return save(tensors)


def open_shards(folder: str | Path, layer: int | Site) -> Shards:
    """Activations that `collect` wrote of one layer; only the files' headers are read.

    Raises:
        SteeringError: the folder is incomplete or damaged, or lacks that layer.
    """
    folder = Path(folder)
    manifest = complete_manifest(folder)
    paths = shards_in(folder)
    if len(paths) != manifest.get("shards", len(paths)):
        raise SteeringError(f"{folder} has {len(paths)} of {manifest['shards']} shards; empty it, and collect anew")
    key = site_key(layer if isinstance(layer, Site) else Site(layer))
    parts: dict[str, list[StoredFrames]] = {side: [] for side in SIDES}
    width = 0
    for path in paths:
        try:
            shapes = read_header(path).shapes
        except CheckpointError as error:
            raise SteeringError(f"{path} is damaged ({error}); empty its folder, and collect anew") from error
        for side, stored in parts.items():
            name = tensor_name(key, side)
            if name not in shapes:
                raise SteeringError(f"{folder} holds no activations of layer {layer}; collect them anew")
            stored.append(StoredFrames(path, name, shapes[name][0]))
            width = max(width, shapes[name][1])
    train, held_out = (Frames(parts[side], width) for side in SIDES)
    return Shards(train, held_out, manifest)


def load_activations(folder: str | Path, layer: int | Site) -> Activations:
    """Activations that `collect` wrote of one layer, in memory.

    Raises:
        SteeringError: the folder is incomplete or damaged, or lacks that layer.
    """
    shards = open_shards(folder, layer)
    train, held_out = (side.read(side.blocks(max(len(side), 1))).half() for side in (shards.train, shards.held_out))
    return Activations(train, held_out)


class ShuffledBatches:
    """Shuffled batches of frames, each a function of the seed and of its number, so that training resumes at any step.

    Every pass takes every frame once, but for a rest too short for a batch. Each pass shuffles the blocks of
    neighbouring frames, fills buffers with them, and shuffles the frames within a buffer. No more than one buffer is in
    memory, however many shards there are.

    Args:
        frames: frames to draw from.
        batch: frames per batch.
        seed: seed of the order.
        buffer: frames in memory.

    Raises:
        SteeringError: there are fewer frames than one batch.
    """

    def __init__(self, frames: Frames, batch: int, seed: int, buffer: int = BUFFER) -> None:
        if len(frames) < batch:
            raise SteeringError(
                f"{len(frames)} frames are fewer than one batch of {batch}; give more audio or a smaller batch"
            )
        self.frames, self.batch, self.seed = frames, batch, seed
        self.per_pass = len(frames) // batch
        self.size = max(buffer // batch, 1) * batch
        self._blocks = frames.blocks()
        self._buffer: tuple[int, int, Tensor, NDArray[np.int64]] | None = None

    def batch_of(self, step: int) -> Tensor:
        """Batch number `step`, (batch, d_model) in float32."""
        turn, at = divmod(step, self.per_pass)
        number, row = divmod(at * self.batch, self.size)
        if self._buffer is None or self._buffer[:2] != (turn, number):
            self._buffer = None  # before the next is read: two would be in memory
            rows = self.frames.read(self._spans(turn, number))
            order = np.random.default_rng([self.seed, turn, number]).permutation(len(rows))
            self._buffer = (turn, number, rows, order)
        _, _, rows, order = self._buffer
        return rows[torch.from_numpy(order[row : row + self.batch])].float()

    def _spans(self, turn: int, number: int) -> Spans:
        dealt = self._blocks[np.random.default_rng([self.seed, turn]).permutation(len(self._blocks))]
        lengths = dealt[:, 1] - dealt[:, 0]
        ends = np.cumsum(lengths)
        first = number * self.size
        last = min(first + self.size, self.per_pass * self.batch)
        i, j = int(np.searchsorted(ends, first, side="right")), int(np.searchsorted(ends, last, side="left"))
        chosen: Spans = dealt[i : j + 1].copy()
        chosen[0, 0] += first - (ends[i] - lengths[i])  # blocks at the edges are shared by two buffers
        chosen[-1, 1] -= ends[j] - last
        return chosen


def _count(part: Tensor | StoredFrames) -> int:
    return len(part) if isinstance(part, Tensor) else part.frames


def _readable(part: Tensor | StoredFrames) -> Tensor | StoredFrames:
    """The part as numpy can slice it: numpy has no bfloat16."""
    if isinstance(part, StoredFrames):
        return part
    tensor = part.detach().cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


@contextmanager
def _opened(part: Tensor | StoredFrames) -> Iterator[Any]:
    """A sliceable array of a part; a file is open no longer than it is read from."""
    if isinstance(part, Tensor):
        yield part.numpy()
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(part.path, framework="np") as file:
            yield file.get_slice(part.key)
    except (SafetensorError, OSError) as error:
        raise SteeringError(f"{part.path} is damaged ({error}); empty its folder, and collect anew") from error
