"""The policy of tries: what is tried again, searched for a culprit, or quarantined. It runs nothing itself."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from .unit_plan import Item
from .unit_work import Answer, Record, Try

Tries = Generator[Try, Answer, Record]
"""Yields tries, is sent their answers, and returns the record."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Limits of tries."""

    times: int = 3
    """Retries of what is transient, and losses of a worker by one unit before its inputs are suspected."""
    wait: float = 1.0
    """Seconds before the first retry; each later one waits twice as long."""
    least_seconds: float = 600.0
    """Seconds that a try may take at least before its worker is taken to hang."""
    pace: float = 20.0
    """Seconds that it may take besides for each second of audio."""
    quarantine: bool = True
    """Do a unit without the inputs that fail; without, it stays missing."""

    def limit(self, given: Try) -> float:
        """Seconds after which a try is given up, and its worker killed."""
        return self.least_seconds + self.pace * given.seconds


class NotDoneError(Exception):
    """A unit could not be done; it stays missing, and another run does it."""


def tries(number: int, items: tuple[Item, ...], retry: Retry) -> Tries:
    """Tries of a unit until it is done, at worst with all of its inputs quarantined.

    A worker that is lost, or hangs, costs a retry. A unit that loses three, or raises, is searched for the inputs at
    fault by halves, whose output is thrown away. Then it is done without them: its output depends on the plan and on
    what is quarantined, and not on how that was found.

    Raises:
        NotDoneError: what is transient did not pass, or an input fails and none may be quarantined.
    """
    failed: dict[str, str] = {}
    while True:
        left = tuple(item for item in items if item.name not in failed)
        answer = yield from _persist(Try(number, left, failed), retry, retry.times)
        if answer.record is not None:
            return answer.record
        if not retry.quarantine:
            raise NotDoneError(answer.reason)
        found = yield from _culprits(number, left, answer.reason, retry)
        failed |= found or {item.name: f"only together with others: {answer.reason}" for item in left}


def _persist(given: Try, retry: Retry, losses: int) -> Generator[Try, Answer, Answer]:
    """The answer of a try that is repeated while that may help: `losses` times where its worker is lost."""
    lost = passing = 0
    while True:
        answer = yield given
        if answer.kind == "memory" and not given.halved:
            given = given._replace(halved=True, delay=0.0)
        elif answer.kind == "lost" and lost + 1 < losses:
            lost += 1
            given = given._replace(delay=retry.wait * 2 ** (lost - 1))
        elif answer.kind == "transient":
            passing += 1
            if passing > retry.times:
                raise NotDoneError(answer.reason)
            given = given._replace(delay=retry.wait * 2 ** (passing - 1))
        else:
            return answer


def _culprits(
    number: int, items: tuple[Item, ...], reason: str, retry: Retry
) -> Generator[Try, Answer, dict[str, str]]:
    """Reasons by the name of the inputs that fail alone, of inputs that failed together."""
    if len(items) == 1:
        return {items[0].name: reason}
    middle = len(items) // 2
    found: dict[str, str] = {}
    for half in (items[:middle], items[middle:]):
        losses = retry.times if len(half) == 1 else 1  # a single one is only blamed if it does so three times
        answer = yield from _persist(Try(number, half, commit=False), retry, losses)
        if answer.kind is not None:
            found |= yield from _culprits(number, half, answer.reason, retry)
    return found
