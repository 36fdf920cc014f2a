"""Activations on disk, read where they are wanted: shuffled batches for training, and blocks in order for the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import CheckpointError, SteeringError
from ...io.tensors.safetensors_header import read_header
from ...models.sites import Site

BLOCK = 64
"""Neighbouring frames that are read in one piece: 1.3 s of a Whisper, 98 kB of Whisper-small."""
BUFFER = 131_072
"""Frames that are shuffled among each other, if not told otherwise: 201 MB of Whisper-small."""

Spans = NDArray[np.int64]


class Stored(NamedTuple):
    """Frames in a shard."""

    path: Path
    key: str
    """The tensor's name in the file."""
    frames: int
    """Its frames."""


class Frames:
    """Residual frames (frames, d_model) of one layer, in memory or on disk; of what is on disk nothing is kept.

    Args:
        parts: tensors (frames, d_model), or where such are stored.
        width: d_model.
    """

    def __init__(self, parts: Sequence[Tensor | Stored], width: int) -> None:
        self.width = width
        self._parts = [_plain(part) for part in parts if _count(part)]
        self._ends = np.cumsum([0, *map(_count, self._parts)])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def blocks(self, size: int = BLOCK) -> Spans:
        """Spans (spans, 2) from first to last, the last exclusive, of at most `size` frames, that make up the whole."""
        starts = [np.arange(a, b, size) for a, b in zip(self._ends[:-1], self._ends[1:], strict=True)]
        stops = [np.minimum(s + size, b) for s, b in zip(starts, self._ends[1:], strict=True)]
        if not starts:
            return np.zeros((0, 2), np.int64)
        return np.stack([np.concatenate(starts), np.concatenate(stops)], axis=1)

    def read(self, spans: Spans) -> Tensor:
        """The frames of spans, in the spans' order, as they are kept; no span may reach over two parts.

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
        """All frames in order, in float32, so many at a time."""
        for span in self.blocks(size):
            yield self.read(span[None]).float()

    def sample(self, count: int, seed: int, block: int = 8) -> Tensor:
        """About so many frames in float32, drawn in short blocks; all of them, in order, if there are no more."""
        spans = self.blocks(block)
        if len(self) > count:
            drawn = np.random.default_rng([seed, len(self)]).permutation(len(spans))
            spans = spans[np.sort(drawn[: max(count // block, 1)])]
        return self.read(spans).float()


class Shards(NamedTuple):
    """One layer's activations, as they were collected."""

    train: Frames
    held_out: Frames
    """Of recordings that `train` has no part of."""
    source: dict[str, Any]
    """What they are of, as `collect` noted it; empty where that is not known."""

    @classmethod
    def of(cls, train: Tensor, held_out: Tensor) -> Shards:
        """Activations (frames, d_model) that lie in memory."""
        return cls(Frames([train], train.shape[1]), Frames([held_out], train.shape[1]), {})


def open_shards(folder: str | Path, layer: int | Site) -> Shards:
    """What `collect` wrote of one layer; only the files' headers are read.

    Raises:
        SteeringError: the folder is incomplete or damaged, or lacks that layer.
    """
    folder = Path(folder)
    manifest = folder / "manifest.json"
    known = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    if not known.get("complete"):
        raise SteeringError(f"{folder} holds no complete set of activations; run collect() on it to the end")
    paths = sorted(folder.glob("shard-*.safetensors"))
    if len(paths) != known.get("shards", len(paths)):
        raise SteeringError(f"{folder} has {len(paths)} of {known['shards']} shards; empty it, and collect anew")
    site = layer if isinstance(layer, Site) else Site(layer)
    parts: dict[str, list[Stored]] = {"train": [], "held_out": []}
    width = 0
    for path in paths:
        try:
            shapes = read_header(path).shapes
        except CheckpointError as error:
            raise SteeringError(f"{path} is damaged ({error}); empty its folder, and collect anew") from error
        for side, stored in parts.items():
            key = f"layer_{shard_key(site)}.{side}"
            if key not in shapes:
                raise SteeringError(f"{folder} holds no activations of layer {layer}; collect them anew")
            stored.append(Stored(path, key, shapes[key][0]))
            width = max(width, shapes[key][1] if shapes[key][0] else 0)
    return Shards(Frames(parts["train"], width), Frames(parts["held_out"], width), known)


class Shuffled:
    """Which frames make up batch n: a function of the seed and of n, so that a training goes on wherever it stopped.

    Every pass takes every frame once, but for a rest that fills no batch. Its blocks of neighbours are dealt in an
    order of their own; a buffer takes as many as it holds, and draws its frames in an order of their own. No more than
    one buffer is in memory, however many shards there are.

    Args:
        frames: to draw from.
        batch: frames a batch.
        seed: of the order.
        buffer: frames to hold.

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
        self._held: tuple[int, int, Tensor, NDArray[np.int64]] | None = None

    def batch_of(self, step: int) -> Tensor:
        """(batch, d_model) in float32."""
        turn, at = divmod(step, self.per_pass)
        number, row = divmod(at * self.batch, self.size)
        if self._held is None or self._held[:2] != (turn, number):
            self._held = None  # before the next is read: two would be in memory
            rows = self.frames.read(self._spans(turn, number))
            order = np.random.default_rng([self.seed, turn, number]).permutation(len(rows))
            self._held = (turn, number, rows, order)
        _, _, rows, order = self._held
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


def _count(part: Tensor | Stored) -> int:
    return len(part) if isinstance(part, Tensor) else part.frames


def _plain(part: Tensor | Stored) -> Tensor | Stored:
    """As numpy can have it, which knows no bfloat16."""
    if isinstance(part, Stored):
        return part
    held = part.detach().cpu()
    return held.float() if held.dtype == torch.bfloat16 else held


@contextmanager
def _opened(part: Tensor | Stored) -> Iterator[Any]:
    """What gives arrays of a part by slices; a file is open no longer than it is read from."""
    if isinstance(part, Tensor):
        yield part.numpy()
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(part.path, framework="np") as file:
            yield file.get_slice(part.key)
    except (SafetensorError, OSError) as error:
        raise SteeringError(f"{part.path} is damaged ({error}); empty its folder, and collect anew") from error


def shard_key(site: Site) -> int | str:
    """As shards name it; encoder layers by their number, as they always were."""
    if site.path is not None:
        return site.path
    return site.layer if site.side == "encoder" else f"{site.side}_{site.layer}"


def _manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["settings"], dict) and isinstance(content["complete"], bool):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise SteeringError(f"{path} is not what a collection of activations writes; give another folder or empty it")
