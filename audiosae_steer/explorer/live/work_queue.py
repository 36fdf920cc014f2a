"""Queue of a model's work: one thread does it in turn, and a session's newer request takes the place of its older."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ...errors import SteeringError

MOST = 16
"""Requests that wait, at most."""
Result = TypeVar("Result")


class SupersededError(SteeringError):
    """A newer request of the same session came before this one was begun."""


class BusyError(SteeringError):
    """Too many requests wait."""


class WorkQueue:
    """One worker thread, which is started with the first request; models are not safe to call from several.

    Args:
        name: of the thread.
        most: requests that may wait.
    """

    def __init__(self, name: str, most: int = MOST) -> None:
        self._name, self._most = name, most
        self._waiting: OrderedDict[str, tuple[Future[Any], Callable[[], Any]]] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, session: str, work: Callable[[], Result]) -> Future[Result]:
        """The result of `work`, to come; what the same session has waiting is given up, and keeps no place in the line.

        Cancelling the future takes the request from the line, unless it was begun.

        Raises:
            BusyError: too many wait.
            SteeringError: it is closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise SteeringError("the explorer is closing, and steers nothing more")
            older = self._waiting.pop(session, None)
            if older is not None and older[0].set_running_or_notify_cancel():
                older[0].set_exception(SupersededError("a newer request of this page took its place"))
            if len(self._waiting) >= self._most:
                raise BusyError(f"{len(self._waiting)} requests wait for the model already; try again in a moment")
            self._waiting[session] = (future, work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    @property
    def waiting(self) -> int:
        """Number of requests that wait, without the one under way."""
        with self._changed:
            return len(self._waiting)

    def close(self, timeout: float = 5.0) -> None:
        """Give up what waits, and end the thread once it has done what is under way, or after `timeout` seconds."""
        with self._changed:
            self._closed = True
            for future, _ in self._waiting.values():
                future.cancel()
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                _, (future, work) = self._waiting.popitem(last=False)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, work  # results and samples are not kept until the next request
