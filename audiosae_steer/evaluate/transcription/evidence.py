"""Evidence of speech for the words and segments of a transcript, from the gates that ran while it was written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...steering.events import GateEvent
from ...steering.gates import Kind

KINDS: tuple[Kind, ...] = ("timestamp", "frame")
"""Gates that tell speech by frame, the better first: each stays shut where somebody speaks."""
INSTANT = 1e-6
"""Seconds; times that differ by less are one."""


def hearing(gates: Sequence[GateEvent]) -> list[GateEvent]:
    """Decisions that tell speech by frame: of timestamp gates or, without any, of frame gates."""
    timed = [event for event in gates if event.start is not None and event.end is not None]
    return next((found for kind in KINDS if (found := [event for event in timed if event.kind == kind])), [])


def speech_shares(gates: Sequence[GateEvent], times: Sequence[tuple[float, float]]) -> list[float | None]:
    """Share of each stretch of time in which the gates heard speech, 0 to 1, to three decimals.

    They hear speech in frames for which they stayed shut. Windows may overlap, as those of long recordings do, whose
    next window begins where the text of the last one ended: the later one is asked. Of several gates in one window each
    must have stayed shut. Time that no window covers is left out, and a stretch without length is judged by its frame.

    Args:
        gates: of one recording.
        times: (start, end) in seconds.

    Returns:
        A share for each stretch; None where no gate tells speech by frame, or no window covers any of it.
    """
    at, known, spoken = _timeline(gates)
    if not len(known):
        return [None] * len(times)
    ends = np.array(times, np.float64).reshape(-1, 2)
    total, heard = (
        np.diff(np.interp(ends, at, np.concatenate([[0.0], np.cumsum(np.diff(at) * mask)])))[:, 0]
        for mask in (known, spoken)
    )
    return [
        round(min(max(float(part / length), 0.0), 1.0), 3) if length > INSTANT else _at(start, at, known, spoken)
        for (start, _), length, part in zip(times, total, heard, strict=True)
    ]


def _at(time: float, at: NDArray[np.float64], known: NDArray[np.bool_], spoken: NDArray[np.bool_]) -> float | None:
    """Evidence at one point, of the frame that begins there or, at the end of the last window, the one before."""
    here = int(np.searchsorted(at, time + INSTANT, side="right")) - 1
    before = int(np.searchsorted(at, time - INSTANT, side="right")) - 1
    for place in (here, before):
        if 0 <= place < len(known) and known[place]:
            return float(spoken[place])
    return None


def _timeline(gates: Sequence[GateEvent]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Edges (n + 1,) in seconds and, of the n stretches between them, those that are known and those of speech."""
    windows: dict[float, list[GateEvent]] = {}
    for event in hearing(gates):
        windows.setdefault(event.start or 0.0, []).append(event)
    starts = sorted(windows)
    pieces: list[tuple[float, float, bool]] = []
    for start, following in pairwise([*starts, np.inf]):
        end = min(following, *(event.end or start for event in windows[start]))
        reached = start
        for first, last in sorted(span for event in windows[start] for span in event.spans):
            if min(first, end) > reached:
                pieces.append((reached, min(first, end), True))
            if min(last, end) > max(first, reached):
                pieces.append((max(first, reached), min(last, end), False))
            reached = max(reached, min(last, end))
        if end > reached:
            pieces.append((reached, end, True))
    edges = sorted({edge for start, end, _ in pieces for edge in (start, end)})
    place = {edge: n for n, edge in enumerate(edges)}
    known, spoken = np.zeros(max(len(edges) - 1, 0), np.bool_), np.zeros(max(len(edges) - 1, 0), np.bool_)
    for start, _, speech in pieces:  # which do not overlap, so that each is one stretch
        known[place[start]], spoken[place[start]] = True, speech
    return np.array(edges, np.float64), known, spoken
