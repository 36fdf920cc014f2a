"""A brief measurement: the same work as on a corpus, clip after clip, until the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import WorkError

LONGEST = 120.0
"""Seconds that a measurement may take at most."""


class Done(NamedTuple):
    """Work on one clip."""

    seconds: float
    """Length of the clip."""
    stored: int
    """Bytes of its output."""


@dataclass(frozen=True)
class SampleTask:
    """Work to measure, on clips in an order that spreads over the corpus."""

    name: str
    count: int
    """Clips."""
    do: Callable[[int], Done]
    """The work on one of them: reading, decoding and the model."""
    files_a_unit: int = 2
    """Files that a unit writes, its record among them."""
    clips_a_unit: int | None = None
    """Clips of a unit; None: units are cut by length."""
    stored_how: str = "mean of the same clips"
    """Way in which the bytes of a clip are found."""


class Timed(NamedTuple):
    """Result of a measurement."""

    clips: int
    audio: float
    """Seconds of audio."""
    wall: float
    """Seconds that it took."""
    stored: int
    """Bytes of output."""

    @property
    def real_time(self) -> float:
        """Seconds of audio done in a second."""
        return self.audio / self.wall


def time_task(task: SampleTask, seconds: float = 60.0, clock: Callable[[], float] = time.perf_counter) -> Timed:
    """Do clips until so many seconds are over, or none are left. One is done before, untimed, to warm up.

    Args:
        task: the work.
        seconds: limit, 120 at most; a clip that is begun is finished, and one is timed in any case.
        clock: seconds of some clock.

    Raises:
        WorkError: the limit is out of range, or there are no clips.
    """
    if not 0 < seconds <= LONGEST:
        raise WorkError(f"a measurement of {seconds:g} s cannot be; expected more than 0 and at most {LONGEST:g}")
    if not task.count:
        raise WorkError("there are no clips to measure on; name a folder with at least one recording")
    begun = clock()
    task.do(0)
    warm = clock()
    done: list[Done] = []
    ends = warm
    for number in [*range(1, task.count), 0]:
        if done and ends - begun >= seconds:
            break
        done.append(task.do(number))
        ends = clock()
    return Timed(
        len(done), sum(each.seconds for each in done), max(ends - warm, 1e-9), sum(each.stored for each in done)
    )
