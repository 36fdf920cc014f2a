from __future__ import annotations

import threading
import time

import pytest

from audiosae_steer.errors import SteeringError
from audiosae_steer.explorer.live.work_queue import BusyError, SupersededError, WorkQueue


@pytest.fixture
def queue():
    made = WorkQueue("test", most=2)
    yield made
    made.close()


def held(queue: WorkQueue) -> threading.Event:
    """Keep the worker busy until the event is set."""
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(10)

    queue.submit("holder", work)
    assert begun.wait(10)
    return go


def test_work_is_done_in_turn_by_one_thread(queue: WorkQueue) -> None:
    order: list[tuple[str, int]] = []
    go = held(queue)
    futures = [queue.submit(name, lambda n=name: order.append((n, threading.get_ident()))) for name in ("a", "b")]
    go.set()
    for future in futures:
        future.result(10)
    assert [name for name, _ in order] == ["a", "b"]
    assert len({thread for _, thread in order} - {threading.get_ident()}) == 1


def test_a_newer_request_of_a_session_takes_the_place_of_its_queued_one(queue: WorkQueue) -> None:
    done: list[int] = []
    go = held(queue)
    older = queue.submit("page", lambda: done.append(1))
    other = queue.submit("other page", lambda: done.append(2))
    newer = queue.submit("page", lambda: done.append(3))
    with pytest.raises(SupersededError, match="newer request"):
        older.result(1)
    go.set()
    newer.result(10)
    other.result(10)
    assert sorted(done) == [2, 3]


def test_what_is_under_way_is_not_superseded(queue: WorkQueue) -> None:
    go = threading.Event()
    running = queue.submit("page", lambda: go.wait(10) and "first")
    while not running.running():
        time.sleep(0.001)
    newer = queue.submit("page", lambda: "second")
    go.set()
    assert (running.result(10), newer.result(10)) == ("first", "second")


def test_more_than_the_line_holds_is_refused(queue: WorkQueue) -> None:
    go = held(queue)
    queue.submit("a", lambda: None)
    queue.submit("b", lambda: None)
    with pytest.raises(BusyError, match="2 requests wait"):
        queue.submit("c", lambda: None)
    assert queue.waiting == 2
    go.set()


def test_errors_come_back_and_the_thread_goes_on(queue: WorkQueue) -> None:
    with pytest.raises(ZeroDivisionError):
        queue.submit("a", lambda: 1 // 0).result(10)
    assert queue.submit("a", lambda: 7).result(10) == 7


def test_a_cancelled_request_is_never_begun(queue: WorkQueue) -> None:
    done: list[int] = []
    go = held(queue)
    future = queue.submit("a", lambda: done.append(1))
    assert future.cancel()
    after = queue.submit("b", lambda: done.append(2))
    newer = queue.submit("a", lambda: done.append(3))
    go.set()
    after.result(10)
    newer.result(10)
    assert done == [2, 3]


def test_closing_gives_up_what_waits() -> None:
    queue = WorkQueue("test")
    go = held(queue)
    waiting = queue.submit("a", lambda: None)
    go.set()
    queue.close()
    assert waiting.cancelled() or waiting.done()
    with pytest.raises(SteeringError, match="closing"):
        queue.submit("b", lambda: None)
