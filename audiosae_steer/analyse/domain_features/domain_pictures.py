"""Pictures of features by domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID
from ..frame.presented import Picture
from .domain_records import Assigned, ControlDomains

COLOURS = ("#1f5fa8", "#b5482f", "#3b7d4f", "#8a5fa8", "#a8871f", "#4f9aa8", "#a84f7d", "#6b6b6b")
NULL = "#c9ced6"


def pictures_of(
    compared: Sequence[Assigned],
    controls: Sequence[ControlDomains],
    points: Sequence[tuple[int, float, float]],
    names: Sequence[str],
) -> list[Picture]:
    """Numbers by rule beside their null and those of controls, and frequency against strength.

    Args:
        compared: numbers of all domains, by rule.
        controls: the same of controls.
        points: domain, its frequency and the mean activation of each feature with support.
        names: the domains.
    """
    return [
        Picture(
            "Features by domain",
            "Bars: features assigned to each domain by each rule, beside those with domains permuted and those of "
            "controls; the tables have the numbers",
            lambda figure: _numbers(compared, controls, names, figure),
            height=0.55 * len(compared) + 1.6,
        ),
        Picture(
            "Frequency and strength",
            "Scatter: highest frequency of each feature with support against its mean activation where it fires, by "
            "the domain of that frequency",
            lambda figure: _scatter(points, names, figure),
            height=3.6,
        ),
    ]


def _numbers(
    compared: Sequence[Assigned], controls: Sequence[ControlDomains], names: Sequence[str], figure: Any
) -> None:
    axis = figure.subplots()
    places = np.arange(len(compared))
    before = np.zeros(len(compared))
    for at, name in enumerate(names):
        own = np.array([each.features[at] for each in compared])
        axis.barh(places - 0.18, own, 0.36, left=before, color=COLOURS[at % len(COLOURS)], label=name)
        before += own
    axis.barh(places + 0.18, [each.null_total for each in compared], 0.3, color=NULL, label="domains permuted")
    for marker, control in zip("ox^", controls, strict=False):
        totals = [each.total for each in control.assigned]
        axis.plot(totals, places - 0.18, marker, color="black", markersize=4, mfc="white", label=control.name)
    axis.set_yticks(places, [str(each.rule) for each in compared])
    axis.set_ylim(len(compared) - 0.5, -0.6)
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel("features")
    axis.legend(frameon=False, fontsize=8)


def _scatter(points: Sequence[tuple[int, float, float]], names: Sequence[str], figure: Any) -> None:
    axis = figure.subplots()
    for at, name in enumerate(names):
        own = [(strength, frequency) for place, frequency, strength in points if place == at]
        if own:
            axis.scatter(*zip(*own, strict=True), s=8, alpha=0.6, color=COLOURS[at % len(COLOURS)], label=name)
    axis.set_xscale("symlog", linthresh=1e-3)
    axis.set_yscale("log")
    axis.set_xlabel("mean activation where it fires")
    axis.set_ylabel("share of frames in its first domain")
    axis.legend(frameon=False, fontsize=8)
