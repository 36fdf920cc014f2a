"""Engines and their pools of workers: tries go in, answers come out, in any order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol

from ...errors import WorkError
from .unit_tries import Retry
from .unit_work import Answer, Order, Try

STARTS = 3
"""Workers that may be lost in succession while they load, before the run ends."""


class Pool(Protocol):
    """Workers of a run."""

    @property
    def capacity(self) -> int:
        """Units that may be at work at once."""

    def submit(self, given: Try) -> None:
        """Have a try done."""

    def next(self, seconds: float | None) -> tuple[Try, Answer] | None:
        """The next answer; None if there is none in so many seconds. WorkError: workers cannot load the work."""


class Engine(Protocol):
    """A way to run workers."""

    def open(self, order: Order, retry: Retry) -> AbstractContextManager[Pool]:
        """Workers for a run, which end with the block."""


class Message(NamedTuple):
    """News of a worker."""

    kind: Literal["ready", "broken", "answer", "lost"]
    reason: str = ""
    answer: Answer | None = None


class Hand(Protocol):
    """A worker in another process, from where it is driven."""

    def give(self, given: Try) -> None:
        """Send it a try. OSError: it is gone."""

    def end(self) -> None:
        """Kill it."""


class Seat:
    """A worker's place: who is there, what it works on, and until when it may."""

    def __init__(self, hand: Hand, until: float) -> None:
        self.hand, self.until = hand, until
        self.is_ready = False
        self.given: Try | None = None


class HandPool:
    """A pool of workers in other processes, each of which is replaced when it is lost or hangs.

    Args:
        count: of workers.
        hire: starts a worker.
        wait: the news of some workers, within so many seconds at most; none if there are none.
        retry: tells how long a try may take.
        start: seconds that a worker may take to load.
    """

    def __init__(
        self,
        count: int,
        hire: Callable[[], Hand],
        wait: Callable[[Sequence[Hand], float], list[tuple[Hand, Message]]],
        retry: Retry,
        start: float,
    ) -> None:
        self._hire, self._wait, self._retry, self._start = hire, wait, retry, start
        self._waiting: deque[Try] = deque()
        self._answers: deque[tuple[Try, Answer]] = deque()
        self._lost_starts = 0
        self._seats: list[Seat] = []
        for _ in range(count):
            self._seats.append(self._new())

    @property
    def capacity(self) -> int:
        """Units that may be at work at once: one a worker."""
        return len(self._seats)

    def submit(self, given: Try) -> None:
        """Have a try done by the next worker that is free."""
        self._waiting.append(given)

    def next(self, seconds: float | None) -> tuple[Try, Answer] | None:
        """The next answer; None if there is none in so many seconds. WorkError: workers cannot load the work."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            self._assign()
            if self._answers:
                return self._answers.popleft()
            now = time.monotonic()
            if end is not None and now >= end:
                return None
            first = min((seat.until for seat in self._seats if self._is_timed(seat)), default=now + 60.0)
            patience = max(min(first, end if end is not None else first) - now, 0.0)
            for hand, message in self._wait([seat.hand for seat in self._seats], patience):
                self._hear(next(seat for seat in self._seats if seat.hand is hand), message)
            for seat in [seat for seat in self._seats if self._is_timed(seat) and time.monotonic() >= seat.until]:
                self._hear(seat, Message("lost", "it took too long and was stopped"))

    def close(self) -> None:
        """Kill all workers."""
        for seat in self._seats:
            seat.hand.end()

    def _is_timed(self, seat: Seat) -> bool:
        return seat.given is not None or not seat.is_ready

    def _new(self) -> Seat:
        return Seat(self._hire(), time.monotonic() + self._start)

    def _assign(self) -> None:
        for seat in self._seats:
            if self._waiting and seat.is_ready and seat.given is None:
                seat.given = self._waiting.popleft()
                seat.until = time.monotonic() + self._retry.limit(seat.given)
                try:
                    seat.hand.give(seat.given)
                except OSError:
                    self._hear(seat, Message("lost", "its worker ended"))

    def _hear(self, seat: Seat, message: Message) -> None:
        if message.kind == "broken":
            raise WorkError(f"the workers cannot start: {message.reason}")
        if message.kind == "ready":
            seat.is_ready, self._lost_starts = True, 0
            return
        given, seat.given = seat.given, None
        if message.kind == "answer" and message.answer is not None:
            if given is not None:
                self._answers.append((given, message.answer))
            return
        seat.hand.end()
        if not seat.is_ready:
            self._lost_starts += 1
            if self._lost_starts >= STARTS:
                raise WorkError(f"{STARTS} workers in succession were lost while they loaded the work "
                                f"({message.reason}); is there enough memory for each?")  # fmt: skip
        if given is not None:
            self._answers.append((given, Answer("lost", message.reason)))
        self._seats[self._seats.index(seat)] = self._new()
