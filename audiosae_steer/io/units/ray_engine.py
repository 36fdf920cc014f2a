"""The engine `ray`: workers are actors of a Ray cluster, or of this machine; the extra `[ray]`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ...errors import MissingExtraError, WorkError
from .engine_pool import Hand, HandPool, Message, Pool
from .unit_failures import reason_of
from .unit_tries import Retry
from .unit_work import Answer, Order, Try, Worker

STARTS, WAIT = 3, 2.0
"""Tries to start Ray, and seconds between them."""
POLL = 0.05
"""Seconds to sleep where no worker has anything to say."""


@dataclass(frozen=True)
class Ray:
    """Workers as actors of Ray. Waveforms and output stay in the workers; the driver sees records alone."""

    address: str | None = None
    """Of a cluster; "auto" is the one that this machine belongs to, None that one or, without one, a new local one."""
    workers: int = 2
    """Number of actors."""
    gpus: float = 0.0
    """GPUs of each; 0.5 puts two on one."""
    cpus: float = 1.0
    """Cores of each."""
    start: float = 600.0
    """Seconds that an actor may take to be placed and to load the work."""

    @contextmanager
    def open(self, order: Order, retry: Retry) -> Iterator[Pool]:
        """The actors, which are killed at the end; a Ray that was started here is stopped.

        Raises:
            MissingExtraError: Ray is not installed.
            WorkError: it does not start, or cannot be reached.
        """
        ray = _library()
        own = not ray.is_initialized()
        if own:
            _start(ray, self.address)
        kind = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_restarts=0, max_task_retries=0)(_Actor)
        pool = None
        try:
            pool = HandPool(self.workers, lambda: _Remote(ray, kind, order), _Watch(ray), retry, self.start)
            yield pool
        finally:
            if pool is not None:
                pool.close()
            if own:
                ray.shutdown()


class _Actor:
    """Ray's side of a worker; methods never raise, so that what Ray raises means that the actor is lost."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._worker: Worker | None = None

    def load(self) -> Message:
        try:
            self._worker = Worker(self._order)
        except Exception as error:
            return Message("broken", reason_of(error))
        return Message("ready")

    def attempt(self, given: Try) -> Message:
        answer = self._worker.attempt(given) if self._worker is not None else Answer("lost", "it has not loaded")
        return Message("answer", answer=answer)


class _Remote:
    def __init__(self, ray: Any, kind: Any, order: Order) -> None:
        self._ray = ray
        self._actor = kind.remote(order)
        self.pending: Any = self._actor.load.remote()

    def give(self, given: Try) -> None:
        self.pending = self._actor.attempt.remote(given)

    def end(self) -> None:
        with suppress(Exception):  # it may be gone already
            self._ray.kill(self._actor)


class _Watch:
    """The news of actors."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def __call__(self, hands: Sequence[Hand], seconds: float) -> list[tuple[Hand, Message]]:
        by_ref = {hand.pending: hand for hand in hands if isinstance(hand, _Remote) and hand.pending is not None}
        if not by_ref:
            time.sleep(min(seconds, POLL))
            return []
        done, _ = self._ray.wait(list(by_ref), num_returns=1, timeout=max(seconds, POLL))
        found: list[tuple[Hand, Message]] = []
        for ref in done:
            hand = by_ref[ref]
            hand.pending = None
            try:
                found.append((hand, self._ray.get(ref)))
            except self._ray.exceptions.RayError as error:
                # Ray's own text holds addresses and process ids, which would make each run's records differ
                found.append((hand, Message("lost", f"its worker ended ({type(error).__name__})")))
        return found


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("the engine ray is not installed; run: pip install 'audiosae-steer[ray]'") from error
    return ray


def _start(ray: Any, address: str | None) -> None:
    """Start Ray, or join a cluster; its own start has 15 s for its agents, which a busy machine may overrun."""
    for number in range(STARTS):
        try:
            options = {} if address else {"include_dashboard": False}
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
            return
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if number == STARTS - 1 or isinstance(error, ConnectionError):
                what = f"the cluster at {address!r} cannot be reached" if address else "Ray does not start"
                advice = (
                    "check that `ray status` works on this machine" if address else "start it by hand (`ray start "
                    "--head`, then address=\"auto\"), byte-compile it (`python -m compileall` on its folder), or take "
                    "--engine processes"
                )  # fmt: skip
                raise WorkError(f"{what}: {reason_of(error)}; {advice}") from error
            time.sleep(WAIT * 2**number)
