"""The engine `processes`: workers on this machine, each of which loads the work once and can be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from .engine_pool import Hand, HandPool, Message, Pool
from .unit_failures import reason_of
from .unit_tries import Retry
from .unit_work import Order, Try, Worker

GRACE = 5.0
"""Seconds to wait for a killed process to be gone."""


@dataclass(frozen=True)
class Processes:
    """Workers on this machine. A script that uses it needs `if __name__ == "__main__":`, as all of multiprocessing."""

    workers: int | None = None
    """Number of processes; default: one a core."""
    start: float = 600.0
    """Seconds that a worker may take to load the work."""
    method: Literal["spawn", "forkserver"] = "spawn"
    """Each a new interpreter; or forks of one that has this package loaded, which replaces lost workers sooner."""

    @contextmanager
    def open(self, order: Order, retry: Retry) -> Iterator[Pool]:
        """The workers, which are killed at the end."""
        count = self.workers or os.cpu_count() or 1
        context: Any = multiprocessing.get_context(self.method)
        if self.method == "forkserver":
            context.set_forkserver_preload([__name__])
        pool = HandPool(count, lambda: _Process(context, order), _wait, retry, self.start)
        try:
            yield pool
        finally:
            pool.close()


class _Process:
    def __init__(self, context: Any, order: Order) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, order), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, given: Try) -> None:
        self.pipe.send(given)

    def end(self) -> None:
        with suppress(OSError):
            self.pipe.close()
        self.process.kill()
        self.process.join(GRACE)


def _wait(hands: Sequence[Hand], seconds: float) -> list[tuple[Hand, Message]]:
    by_pipe = {hand.pipe: hand for hand in hands if isinstance(hand, _Process)}
    found: list[tuple[Hand, Message]] = []
    for pipe in wait(list(by_pipe), seconds):
        hand = by_pipe[pipe]
        try:
            found.append((hand, hand.pipe.recv()))
        except (EOFError, OSError):  # which a process that ends closes, however it ends
            hand.process.join(GRACE)
            found.append((hand, Message("lost", f"its worker ended by {_how(hand.process.exitcode)}")))
    return found


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit status {code}"


def _serve(pipe: Connection, order: Order) -> None:
    """A worker's life: load, say so, answer tries; it ends with the driver's end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which ends its workers
    try:
        worker = Worker(order)
    except Exception as error:
        with suppress(OSError):
            pipe.send(Message("broken", reason_of(error)))
        return
    with suppress(EOFError, OSError):
        pipe.send(Message("ready"))
        while True:
            pipe.send(Message("answer", answer=worker.attempt(pipe.recv())))
