"""Pictures of coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.intervals import Interval
from ..frame.presented import Picture
from .coverage_records import DensityRow, Side

SEEN, NULL = "#1f5fa8", "#c9ced6"


def pictures_of(
    lines: Sequence[tuple[str, Side]],
    interval: Interval | None,
    chi: Sequence[float],
    theta: float,
    by_density: Sequence[DensityRow],
) -> list[Picture]:
    """Shares beside their nulls, a histogram of the best partners' χ, and shares by density.

    Args:
        lines: comparisons by name, the interval's first.
        interval: of its share.
        chi: χ of the best partner of each seen feature.
        theta: bound above which a feature is covered.
        by_density: features by how often they fire.
    """
    return [
        Picture(
            "Share and null",
            "Bars: share of features that are covered, by the other SAE and by controls, each beside the share after "
            "shifts in time; the table has the numbers",
            lambda figure: _shares(lines, interval, figure),
            height=0.5 * len(lines) + 1.4,
        ),
        Picture(
            "Overlap with the best partner",
            "Histogram of the best partners' χ, with the bound above which a feature is covered",
            lambda figure: _histogram(chi, theta, figure),
            height=2.8,
        ),
        Picture(
            "By density",
            "Bars: share of features that are covered by how often they fire, beside the null",
            lambda figure: _densities(by_density, figure),
            height=3.0,
        ),
    ]


def _shares(lines: Sequence[tuple[str, Side]], interval: Interval | None, figure: Any) -> None:
    axis = figure.subplots()
    places = np.arange(len(lines))
    axis.barh(places - 0.2, [side.share for _, side in lines], 0.38, color=SEEN, label="share")
    axis.barh(places + 0.2, [side.null_share for _, side in lines], 0.38, color=NULL, label="shifted in time")
    if interval is not None:
        axis.plot(interval, [-0.2, -0.2], color=INK, linewidth=1.6)
    axis.set_yticks(places, [name for name, _ in lines])
    axis.set_ylim(len(lines) - 0.5, -0.6)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda share, at: f"{share:.0%}")
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel("of the features with support")
    axis.legend(frameon=False, fontsize=9)


def _histogram(chi: Sequence[float], theta: float, figure: Any) -> None:
    axis = figure.subplots()
    axis.hist(chi, np.linspace(0, 1, 41), color=SEEN)
    axis.axvline(theta, color=MUTED, linewidth=1, linestyle=":")
    axis.set_xlabel("χ of the best partner")
    axis.set_ylabel("features of A")


def _densities(by_density: Sequence[DensityRow], figure: Any) -> None:
    axis = figure.subplots()
    rows = [row for row in by_density if row.seen]
    places = np.arange(len(rows))
    axis.bar(places - 0.2, [row.covered / row.seen for row in rows], 0.38, color=SEEN, label="share")
    axis.bar(places + 0.2, [row.null_share for row in rows], 0.38, color=NULL, label="shifted in time")
    names = [f"{100 * row.low:.4g} to {100 * row.high:.4g} %\n{row.seen} features" for row in rows]
    axis.set_xticks(places, names)
    axis.set_ylim(0, 1.05)
    axis.yaxis.set_major_formatter(lambda share, at: f"{share:.0%}")
    axis.set_ylabel("covered")
    axis.set_xlabel("density: share of frames on which a feature fires")
    axis.legend(frameon=False, fontsize=9)
