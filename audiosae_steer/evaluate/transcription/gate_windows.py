"""Decisions of a model's gates for the windows of one recording, for transcripts and their files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ...steering.events import GateEvent


def gates_of(events: Iterable[GateEvent], seconds: float, clip: int = 0) -> tuple[GateEvent, ...]:
    """Last decision of each gate for each window of one recording, in order.

    A window is encoded more than once where its language is detected, or its text tried at several temperatures.

    Args:
        events: those of the call that transcribed it.
        seconds: of the recording, at which its last window ends.
        clip: row of the recording in the call's batch.
    """
    last: dict[Any, GateEvent] = {}
    for event in events:
        key = event.start, event.kind, event.site
        if event.clip == clip and not (key in last and last[key].window == event.window):  # a row that only fills up
            last[key] = event
    return tuple(
        event._replace(
            end=None if event.end is None else min(event.end, seconds),
            spans=tuple((start, min(end, seconds)) for start, end in event.spans if start < seconds),
        )
        for event in sorted(last.values(), key=lambda event: event.start or 0.0)
    )


def numbered(gates: Iterable[GateEvent]) -> tuple[GateEvent, ...]:
    """The decisions for one recording with its windows counted from 0, as its only clip.

    The model counts every pass since it is steered: of earlier recordings, and of those that time words.
    """
    gates = tuple(gates)
    numbers = {window: number for number, window in enumerate(dict.fromkeys(event.window for event in gates))}
    return tuple(event._replace(window=numbers[event.window], clip=0) for event in gates)


def gate_record(event: GateEvent) -> dict[str, Any]:
    """A decision as JSON holds it, without the features that the gate reads, which its recipe tells."""
    return {
        "gate": event.kind,
        "site": str(event.site),
        "start": event.start,
        "end": event.end,
        "score": event.score if math.isfinite(event.score) else None,
        "threshold": event.threshold,
        "opened": event.opened,
        "spans": [list(span) for span in event.spans],
        "strength": event.strength,
    }
