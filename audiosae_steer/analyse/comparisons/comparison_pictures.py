"""Picture of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .comparison_records import Entry

DOT = "#1f5fa8"
OTHERS = ("#b8651b", "#7a8594", "#a9b1bc", "#3f8f5f", "#8d5aa8")


def pictures_of(entries: Sequence[Entry], measure: str) -> list[Picture]:
    """Each entry's number with its interval, its null and its controls."""
    return [
        Picture(
            measure,
            f"Points: {measure}, of each entry with its 95 % interval, its null and its controls; the table has the "
            "numbers",
            lambda figure: _draw(entries, measure, figure),
            height=0.5 * max(len(entries), 2) + 1.4,
        )
    ]


def _draw(entries: Sequence[Entry], measure: str, figure: Any) -> None:
    axis = figure.subplots()
    names = list(dict.fromkeys(name for entry in entries for name, _ in entry.headline.controls))
    for place, entry in enumerate(entries):
        found = entry.headline
        if found.null is not None:
            label = "null" if place == 0 else None
            axis.plot([found.null], [place], "|", color=MUTED, markersize=14, markeredgewidth=1.6, label=label)
        if found.interval is not None:
            axis.plot(found.interval, [place, place], color=INK, linewidth=1.4)
        if found.value is not None:
            axis.plot([found.value], [place], "o", color=DOT, label="SAE" if place == 0 else None)
    for number, name in enumerate(names):
        values = [
            (dict(e.headline.controls)[name], i) for i, e in enumerate(entries) if name in dict(e.headline.controls)
        ]
        colour = OTHERS[number % len(OTHERS)]
        axis.plot([v for v, _ in values], [i for _, i in values], "D", color=colour, markersize=4.5, label=name)
    axis.set_yticks(np.arange(len(entries)), [entry.name for entry in entries])
    axis.set_ylim(len(entries) - 0.5, -0.5)
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel(measure)
    axis.legend(frameon=False, fontsize=8)
