"""The engine `local`: units one after another in this process, with failures on demand for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from .engine_pool import Pool
from .unit_tries import Retry
from .unit_work import Answer, Order, Try, Worker

Fault = Callable[[Try, Literal["before", "after"]], Answer | None]
"""Asked before a try, and after it was done and committed; what it gives takes the place of the answer."""


@dataclass(frozen=True)
class Local:
    """Units in this process. A unit that hangs or kills it takes the run with it."""

    faults: Fault | None = None
    """Failures to inject: `Answer("lost", …)` is a worker that was killed then."""
    capacity: int = 1
    """Units that are open at once; they are still done one after another."""
    choose: Callable[[int], int] | None = None
    """Choice among so many waiting tries, counted from 0; the first by default."""

    @contextmanager
    def open(self, order: Order, retry: Retry) -> Iterator[Pool]:
        """The pool, which is this process."""
        yield _LocalPool(self, order)


class _LocalPool:
    def __init__(self, engine: Local, order: Order) -> None:
        self._engine, self._order = engine, order
        self._worker: Worker | None = None
        self._waiting: list[Try] = []

    @property
    def capacity(self) -> int:
        return self._engine.capacity

    def submit(self, given: Try) -> None:
        self._waiting.append(given)

    def next(self, seconds: float | None) -> tuple[Try, Answer] | None:
        if not self._waiting:
            return None
        choose, faults = self._engine.choose, self._engine.faults
        given = self._waiting.pop(choose(len(self._waiting)) if choose is not None else 0)
        before = faults(given, "before") if faults is not None else None
        if before is not None:
            return given, before
        if self._worker is None:  # here, so that nothing is loaded where nothing is left to do
            self._worker = Worker(self._order)
        answer = self._worker.attempt(given)
        after = faults(given, "after") if faults is not None else None
        return given, answer if after is None else after
