"""Record of what the gates decided, clip by clip: `GateEvent`, and the logs that hold them.

Nothing is read from the device when a gate runs: its scores are kept there, and fetched when somebody looks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.sites import Site
from .gates import Kind

LIMIT = 4096
"""Events that a log keeps; a frame gate's scores take 6 KB each until they are looked at."""


class GateEvent(NamedTuple):
    """Decision of one gate for one clip of one pass: in Whisper, for a window of 30 s with its padding."""

    kind: Kind
    """Kind of gate."""
    site: Site
    """Site that it reads."""
    features: tuple[int, ...]
    """Features that it reads."""
    window: int
    """Number of the pass, counted from 0 since the steering was made: it tells windows apart where `start` does not."""
    clip: int
    """Row of the batch that was given, to transformers' `generate` too, whose passes leave out rows that are done."""
    start: float | None
    """Seconds of the recording at which the window begins. The loops of `whisper.transcribe`, and of transformers'
    `generate` and pipelines, tell where they are; in other loops it is 0 for each window, unless an `offset` is set. A
    clip that is given by itself begins at 0. None: frames of the site have no time."""
    end: float | None
    """Seconds at which the window ends; padding is left out where the model is told of it, which Whisper is not."""
    score: float
    """Weighted sum of the features and the bias; of a frame gate, the highest of any frame."""
    threshold: float
    """Score above which it opens."""
    opened: bool
    """The clip, or some frame of it, may be edited; of a timestamp gate, some frame takes no timestamps."""
    spans: tuple[tuple[float, float], ...]
    """(start, end) in seconds, wherever it was open; of a clip gate, the whole window. Empty if frames have no time."""
    strength: float
    """Strength that the clip had when the gate ran: at 0, an open gate changes nothing."""
    thread: str
    """Name of the thread that ran the model."""

    def words(self) -> str:
        """A line about it."""
        when = "" if self.start is None or self.end is None else f", {self.start:.2f} to {self.end:.2f} s"
        what = "opened" if self.opened else "stayed shut"
        sign = ">" if self.opened else "<="
        where = ""
        if self.kind != "clip" and self.spans:
            shown = ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in self.spans[:4])
            where = f" at {shown}" + (", ..." if len(self.spans) > 4 else "")
        off = " (at strength 0, which changes nothing)" if self.opened and self.strength == 0 else ""
        return (
            f"window {self.window}, clip {self.clip}{when}: the {self.kind} gate at {self.site} {what}{where}, "
            f"score {self.score:.4g} {sign} threshold {self.threshold:.4g}{off}"
        )


@dataclass(slots=True)
class Decided:
    """Decision of one gate for the clips of one pass, its scores still on the device."""

    kind: Kind
    site: Site
    features: tuple[int, ...]
    window: int
    thread: str
    threshold: float
    rate: float | None
    """Frames a second; None where they have no time."""
    frames: int
    margin: Tensor | None
    """(clips,) or (clips, frames): score minus threshold."""
    unpadded: Tensor | None
    """(clips, frames) bool."""
    starts: tuple[tuple[float, ...] | Tensor, ...]
    """(clips,) seconds each, to be summed."""
    strengths: tuple[float, ...]
    clips: tuple[int, ...]
    found: tuple[GateEvent, ...] = ()

    def events(self) -> tuple[GateEvent, ...]:
        """An event for each clip. Waits for the device, the first time."""
        with _FETCHING:
            if self.margin is not None:
                self.found = self._fetch(self.margin.cpu())
                self.margin = self.unpadded = None
        return self.found

    def _fetch(self, margin: Tensor) -> tuple[GateEvent, ...]:
        rows = len(self.strengths)
        whole = torch.ones(rows, self.frames, dtype=torch.bool) if self.unpadded is None else self.unpadded.cpu()
        ends = [0.0] * rows if self.rate is None else (whole.sum(1).double() / self.rate).tolist()
        added = [part.double().expand(rows).tolist() if isinstance(part, Tensor) else part for part in self.starts]
        starts = [sum(parts) for parts in zip(*added, strict=True)]
        opened = margin > 0
        if self.kind != "clip":
            opened = opened & whole
            margin = margin.masked_fill(~whole, -torch.inf).amax(1)
        events = []
        for row in range(rows):
            start, end = (None, None) if self.rate is None else (starts[row], starts[row] + ends[row])
            spans: tuple[tuple[float, float], ...] = ()
            if start is not None and end is not None and bool(opened[row].any()):
                spans = ((start, end),) if self.kind == "clip" else _spans(opened[row], start, self.rate or 1.0)
            events.append(
                GateEvent(
                    kind=self.kind,
                    site=self.site,
                    features=self.features,
                    window=self.window,
                    clip=self.clips[row],
                    start=start,
                    end=end,
                    score=float(margin[row]) + self.threshold,
                    threshold=self.threshold,
                    opened=bool(opened[row].any()),
                    spans=spans,
                    strength=self.strengths[row],
                    thread=self.thread,
                )
            )
        return tuple(events)


_FETCHING = threading.Lock()


def _spans(opened: Tensor, start: float, rate: float) -> tuple[tuple[float, float], ...]:
    """Runs of open frames (frames,) in seconds."""
    edges = torch.diff(F.pad(opened.int(), (1, 1)))
    begins, ends = (edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist()
    return tuple((start + a / rate, start + b / rate) for a, b in zip(begins, ends, strict=True))


class Events(Sequence[GateEvent]):
    """Events in the order in which the gates ran, of all threads; the last 4,096 of them, whole passes at a time.

    Looking at them fetches their scores from the device, and waits for it. It may be read in one thread while the
    model runs in another.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._count = limit, 0
        self._kept: deque[Decided] = deque()
        self._lock = threading.Lock()

    def add(self, decided: Decided) -> None:
        """Note a pass, and let go of the oldest."""
        with self._lock:
            self._kept.append(decided)
            self._count += len(decided.strengths)
            while self._count > self._limit and len(self._kept) > 1:
                self._count -= len(self._kept.popleft().strengths)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._kept.clear()
            self._count = 0

    def _all(self) -> list[GateEvent]:
        with self._lock:
            kept = list(self._kept)
        for device in {each.device for decided in kept if (each := decided.margin) is not None and each.is_cuda}:
            torch.cuda.synchronize(device)  # the model may have run on another stream
        return [event for decided in kept for event in decided.events()]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[GateEvent]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> GateEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[GateEvent]: ...
    def __getitem__(self, index: int | slice) -> GateEvent | list[GateEvent]:
        return self._all()[index]

    def __repr__(self) -> str:
        lines = [event.words() for event in self]
        shown = lines if len(lines) <= 20 else [f"... {len(lines) - 20:,} earlier", *lines[-20:]]
        return "\n".join(shown) or "<no gate events>"


_COLLECTING: ContextVar[tuple[tuple[int | None, Events], ...]] = ContextVar("audiosae_steer_events", default=())


def collectors_of(key: int) -> list[Events]:
    """Logs of this thread or task that collect what the steering of this key decides."""
    return [events for of, events in _COLLECTING.get() if of is None or of == key]


@contextmanager
def collecting(events: Events, key: int | None = None) -> Iterator[Events]:
    """Collect what the gates decide in this thread or task: of one steering, by its key, or of all."""
    token = _COLLECTING.set((*_COLLECTING.get(), (key, events)))
    try:
        yield events
    finally:
        _COLLECTING.reset(token)
