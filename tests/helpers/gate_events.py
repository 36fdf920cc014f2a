"""Decisions of gates, made by hand in milliseconds."""

from __future__ import annotations

from typing import Any

from audiosae_steer import GateEvent, Site

Millis = tuple[int, int, list[tuple[int, int]]]
"""Start, end and open spans of a window, in milliseconds."""


def decided(window: Millis, kind: Any = "timestamp", site: int = 4) -> GateEvent:
    start, end, spans = window
    return GateEvent(
        kind=kind,
        site=Site(site),
        features=(1,),
        window=0,
        clip=0,
        start=start / 1000,
        end=end / 1000,
        score=1.0,
        threshold=0.0,
        opened=bool(spans),
        spans=tuple((a / 1000, b / 1000) for a, b in spans),
        strength=1.0,
        thread="main",
    )
