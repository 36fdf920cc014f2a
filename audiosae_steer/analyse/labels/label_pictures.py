"""Picture of the features that tell labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID, INK
from ..frame.presented import Picture
from .label_records import ControlLabels, LabelRow

BEST, BASE = "#1f5fa8", "#c9ced6"


def pictures_of(rows: Sequence[LabelRow], controls: Sequence[ControlLabels]) -> list[Picture]:
    """F1 of each label's best feature, beside that of saying yes to all, the smallest that is kept, and controls."""
    return [
        Picture(
            "F1 of each label's best feature",
            "Bars: F1 of the best feature of each label with its interval, beside that of saying yes to every clip, "
            "the smallest F1 that is kept, and controls; the tables have the numbers",
            lambda figure: _draw(rows, controls, figure),
            height=0.4 * len(rows) + 1.6,
        )
    ]


def _draw(rows: Sequence[LabelRow], controls: Sequence[ControlLabels], figure: Any) -> None:
    axis = figure.subplots()
    places = np.arange(len(rows))
    axis.barh(places - 0.18, [row.best.f1 for row in rows], 0.36, color=BEST, label="best feature")
    axis.barh(places + 0.18, [row.base_f1 for row in rows], 0.3, color=BASE, label="yes to all")
    axis.plot([row.smallest_f1 for row in rows], places, "|", color=INK, markersize=14, label="smallest kept")
    for place, row in zip(places, rows, strict=True):
        if row.best.interval is not None:
            axis.plot(row.best.interval, [place - 0.18] * 2, color=INK, linewidth=1.4)
    for marker, control in zip("ox^", controls, strict=False):
        own = [each.best_f1 for each in control.rows]
        axis.plot(own, places[: len(own)] - 0.18, marker, color="black", markersize=4, mfc="white", label=control.name)
    axis.set_yticks(places, [row.label for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.6)
    axis.set_xlim(0, 1.02)
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel("F1 on clips that the threshold was not chosen on")
    axis.legend(frameon=False, fontsize=8)
