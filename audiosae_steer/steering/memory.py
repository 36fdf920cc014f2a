"""Memory of the gates' decisions, by the encodings that they were made for."""

from __future__ import annotations

import threading
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor

REMEMBERED = 4096
"""Clips whose decisions are kept for a later decoding: with Whisper-large in half precision, 32 MB."""
LEAST = 1000
"""Numbers of an encoding that recognise it."""
HEAD = 8
"""Of them, those that are looked at first."""
RECENT = 64
"""Clips that are looked at before all others: most are decoded soon after they are encoded."""
KINDS = 4
"""Kinds of encodings, by dtype, device and width, that are kept at once."""


class Decision(NamedTuple):
    """Decision of the gates for a batch of clips, or for rows of decoded text."""

    clips: Tensor | None = None
    """(clips,) bool: the clip gate opened."""
    frames: Tensor | None = None
    """(clips, frames) bool: the frame gate opened."""
    unspoken: Tensor | None = None
    """(clips, frames) bool: the timestamp gate opened."""

    @property
    def made(self) -> bool:
        """Some gate has decided."""
        return any(each is not None for each in self)

    def of(self, rows: Tensor) -> Decision:
        """The decisions for rows (long) of the batch, in that order."""
        return Decision(*(None if each is None else each[rows.to(each.device)] for each in self))


class Memory:
    """Decisions for encodings, to be recalled by the encodings.

    The numbers of a few frames tell clips apart: every frame of Whisper's encoding depends on the whole clip. Rows may
    be repeated for beams, chosen, joined from several batches, or moved to another device in between.

    They lie in few large tensors: thousands of small ones, each allocated between the large temporary ones of a pass,
    would keep an allocator from giving memory back, or from using it again.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._kept: list[_Ring] = []
        self._lock = threading.Lock()
        self._last = threading.local()

    def __deepcopy__(self, memo: Any) -> Memory:  # a copied model's hooks run the original's steering
        return self

    def remember(self, encoding: Tensor, decision: Decision) -> None:
        """Keep the decision for an encoding (clips, frames, d)."""
        marks = _marks(encoding.detach())
        with self._lock:
            ring = next((each for each in self._kept if each.takes(marks, decision)), None)
            if ring is None:
                ring = _Ring(max(self._limit, len(marks)), marks, decision)
            self._kept = [ring, *(each for each in self._kept if each is not ring)][:KINDS]
            ring.add(marks, decision)

    def recall(self, encoding: Tensor) -> Decision | None:
        """The decision for each row of an encoding (rows, frames, d); None: a row was never seen, or too long ago."""
        version = None if encoding.is_inference() else encoding._version
        last = getattr(self._last, "found", None)
        if last is not None and last[0]() is encoding and version is not None and last[1] == version:
            found: Decision = last[2]
            return found
        recalled = self._search(_marks(encoding.detach()))
        if recalled is not None:  # the steps of one text come with one tensor
            self._last.found = weakref.ref(encoding), version, recalled
        return recalled

    def _search(self, marks: Tensor) -> Decision | None:
        missing = torch.ones(len(marks), dtype=torch.bool, device=marks.device)
        parts: list[tuple[Tensor, Decision]] = []
        with self._lock:  # nothing is written over what is found
            for each in self._kept:
                if each.marks.shape[1] != marks.shape[1]:
                    continue
                known, places, every = each.find(marks)
                if every:
                    return each.decision(places)
                known = known & missing
                if known.any():
                    rows = known.nonzero()[:, 0]
                    parts.append((rows, each.decision(places[rows])))
                    missing = missing & ~known
                    if not missing.any():
                        return _joined(parts, len(marks))
        return None


class _Ring:
    """The last decisions for encodings of one kind; the newest takes the place of the oldest."""

    def __init__(self, size: int, marks: Tensor, decision: Decision) -> None:
        with torch.inference_mode(False):  # it is written again outside of that mode
            self.marks = torch.empty(size, *marks.shape[1:], dtype=marks.dtype, device=marks.device)
            self.decisions = Decision(
                *(
                    None if each is None else torch.empty(size, *each.shape[1:], dtype=each.dtype, device=each.device)
                    for each in decision
                )
            )
        self.size, self.used, self.next = size, 0, 0

    def takes(self, marks: Tensor, decision: Decision) -> bool:
        """They are of its kind, and no more at once than it holds."""
        pairs = zip((self.marks, *self.decisions), (marks, *decision), strict=True)
        return len(marks) <= self.size and all(_alike(own, given) for own, given in pairs)

    def add(self, marks: Tensor, decision: Decision) -> None:
        """Keep them, in the place of the oldest."""
        first = min(len(marks), self.size - self.next)
        parts = ((self.next, 0, first), (0, first, len(marks) - first))
        with torch.inference_mode(False), torch.no_grad():
            for own, given in zip((self.marks, *self.decisions), (marks, *decision), strict=True):
                if own is None or given is None:
                    continue
                for at, start, count in parts:
                    own[at : at + count].copy_(given[start : start + count])
        self.used = min(self.used + len(marks), self.size)
        self.next = (self.next + len(marks)) % self.size

    def find(self, marks: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Mask (rows,) of the rows of marks (rows, n) that are known, the newest place (rows,) of each, and if all are.

        Waits for the device once where all are among the newest.
        """
        asked = marks.to(self.marks.device)
        known, places, every = self._match(asked, min(self.used, RECENT))
        if self.used > RECENT and not every:
            known, places, every = self._match(asked, self.used)
        return known.to(marks.device), places.to(marks.device), every

    def _match(self, asked: Tensor, count: int) -> tuple[Tensor, Tensor, bool]:
        """The same among the newest `count`."""
        order = (self.next - 1 - torch.arange(count, device=asked.device)) % self.size  # the newest first
        alike = (asked[:, None, :HEAD] == self.marks[order, :HEAD].to(asked.dtype)).all(-1)
        first = alike.int().argmax(1)
        equal = (asked == self.marks[order[first]].to(asked.dtype)).all(1)
        if equal.all():
            return equal, order[first], True
        others = alike.any(1) & ~equal  # they begin like another
        for row in others.nonzero()[:, 0].tolist():
            same = (asked[row] == self.marks[order].to(asked.dtype)).all(1)
            first[row], equal[row] = same.int().argmax(), same.any()
        return equal, order[first], bool(equal.all())

    def decision(self, places: Tensor) -> Decision:
        """The decisions at places (rows,)."""
        return self.decisions.of(places)


def _alike(own: Tensor | None, given: Tensor | None) -> bool:
    if own is None or given is None:
        return own is given
    return own.shape[1:] == given.shape[1:] and own.dtype == given.dtype and own.device == given.device


def _marks(encoding: Tensor) -> Tensor:
    """(rows, n): the numbers of some frames, spread over the clip; 1,000 of them or more, if there are so many."""
    frames, width = encoding.shape[1:]
    count = min(frames, max(3, -(-LEAST // width)))
    chosen = [frame * (frames - 1) // max(count - 1, 1) for frame in range(count)]
    return torch.cat([encoding[:, frame] for frame in chosen], dim=1)


def _joined(parts: list[tuple[Tensor, Decision]], rows: int) -> Decision:
    """Decisions for some rows each, as one."""
    order = torch.empty(rows, dtype=torch.long, device=parts[0][0].device)
    order[torch.cat([chosen for chosen, _ in parts])] = torch.arange(rows, device=order.device)

    def join(*tensors: Tensor | None) -> Tensor | None:
        given = [tensor.to(order.device) for tensor in tensors if tensor is not None]
        return torch.cat(given)[order] if len(given) == len(parts) else None

    return Decision(*(join(*each) for each in zip(*(decision for _, decision in parts), strict=True)))
