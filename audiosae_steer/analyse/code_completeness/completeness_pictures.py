"""Pictures of completeness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .completeness_records import AttributeRow, Pair

COLOURS = ("#1f5fa8", "#b8651b", "#7a8594", "#3f8f5f", "#8d5aa8", "#c9a227", "#5b6675")


def pictures_of(rows: Sequence[AttributeRow], pairs: Sequence[Pair], first: str) -> list[Picture]:
    """Carriers of each code against the first's, held-out R² and carriers of each attribute.

    Args:
        rows: attributes.
        pairs: other codes against the first.
        first: name of the first code.
    """
    shown = [row for row in rows if any(score.explained for score in row.scores)]
    height = 0.24 * max(len(shown), 4) + 1.2
    return [
        Picture(
            f"Carriers, times those in {first}",
            "Points with 95 % intervals: how many times as many columns carry an attribute in each code as in the "
            "first; the table has the numbers",
            lambda figure: _ratios(pairs, figure),
            height=0.4 * max(len(pairs), 2) + 1.2,
        ),
        Picture(
            "Held-out R² of each attribute",
            "Points: held-out R² of each attribute by each code; the table has the numbers",
            lambda figure: _points(shown, figure, "r2"),
            height=height,
        ),
        Picture(
            "Columns that carry each attribute",
            "Points: number of columns that carry each attribute, by each code that explains it, on a log scale",
            lambda figure: _points(shown, figure, "effective"),
            height=height,
        ),
    ]


def _ratios(pairs: Sequence[Pair], figure: Any) -> None:
    axis = figure.subplots()
    known = [pair for pair in pairs if pair.ratio is not None]
    for place, pair in enumerate(known):
        if pair.interval is not None:
            axis.plot(pair.interval, [place, place], color=INK, linewidth=1.4)
        axis.plot([pair.ratio], [place], "o", color=COLOURS[0])
    axis.axvline(1, color=MUTED, linewidth=1, linestyle=":")
    axis.set_yticks(np.arange(len(known)), [f"{pair.name} ({pair.attributes})" for pair in known])
    axis.set_ylim(len(known) - 0.5, -0.5)
    axis.set_xscale("log")
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_xlabel("exp(H) over the first code's; in brackets the attributes that both explain")


def _points(rows: Sequence[AttributeRow], figure: Any, what: str) -> None:
    axis = figure.subplots()
    names = list(dict.fromkeys(score.code for row in rows for score in row.scores))
    for number, name in enumerate(names):
        values = [
            (getattr(score, what), place)
            for place, row in enumerate(rows)
            for score in row.scores
            if score.code == name and getattr(score, what) is not None
        ]
        across = [max(value, -0.2) if what == "r2" else value for value, _ in values]
        axis.plot(across, [place for _, place in values], "o", color=COLOURS[number % len(COLOURS)], ms=4, label=name)
    axis.set_yticks(np.arange(len(rows)), [row.name for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    if what == "effective":
        axis.set_xscale("log")
    axis.set_xlabel("held-out R², below −0.2 drawn there" if what == "r2" else "exp(H)")
    if names:
        axis.legend(frameon=False, fontsize=8)
