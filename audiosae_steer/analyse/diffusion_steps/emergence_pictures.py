"""Pictures of properties along a diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .emergence_records import PropertyEmergence

COLOURS = {"predicted": "#1f5fa8", "state": "#c4572b", "line": "#8a94a3"}


def pictures_of(properties: Sequence[PropertyEmergence], quorum: float) -> list[Picture]:
    """Share of frames that agree over time by each reading, a panel for each property, and the states' lead."""
    return [
        Picture(
            "Agreement with the final latents",
            "Lines: share of frames whose likeliest class is the final one over time, predicted, by the states and on "
            "the line, with intervals, the share that agrees by chance, and the quorum",
            lambda figure: _agreement(properties, quorum, figure),
            width=max(3.2 * len(properties), 6.0),
            height=3.2,
        ),
        Picture(
            "Lead of the states over the line",
            "Lines: share of frames that agree in the states less that on the line, with intervals",
            lambda figure: _lead(properties, figure),
            width=max(3.2 * len(properties), 6.0),
            height=2.8,
        ),
    ]


def _agreement(properties: Sequence[PropertyEmergence], quorum: float, figure: Any) -> None:
    axes = figure.subplots(1, len(properties), sharey=True, squeeze=False)[0]
    for axis, each in zip(axes, properties, strict=True):
        for curve in each.curves:
            t = [point.time for point in curve.points]
            colour = COLOURS[curve.reading]
            axis.plot(t, [point.agree for point in curve.points], color=colour, linewidth=1.6, label=curve.reading)
            bands = [point.agree_interval for point in curve.points]
            if all(band is not None for band in bands):
                low, high = zip(*(band for band in bands if band is not None), strict=True)
                axis.fill_between(t, low, high, color=colour, alpha=0.18, linewidth=0)
        others = [point.chance for point in each.curve("state").points]
        if others[0] is not None:
            axis.plot(t, others, color=MUTED, linewidth=1, linestyle=":", label="other clips")
        axis.axhline(quorum, color=INK, linewidth=0.8, linestyle="--")
        axis.set_ylim(0, 1.02)
        axis.set_title(each.name, fontsize=9)
        axis.set_xlabel("time t")
        axis.grid(color=GRID, linewidth=0.8)
    axes[0].set_ylabel("frames that agree")
    axes[-1].legend(frameon=False, fontsize=8)


def _lead(properties: Sequence[PropertyEmergence], figure: Any) -> None:
    axes = figure.subplots(1, len(properties), sharey=True, squeeze=False)[0]
    for axis, each in zip(axes, properties, strict=True):
        t = [point.time for point in each.curve("state").points]
        axis.plot(t, [point.agree for point in each.lead], color=COLOURS["state"], linewidth=1.6)
        bands = [point.agree_interval for point in each.lead]
        if all(band is not None for band in bands):
            low, high = zip(*(band for band in bands if band is not None), strict=True)
            axis.fill_between(t, low, high, color=COLOURS["state"], alpha=0.18, linewidth=0)
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set_title(each.name, fontsize=9)
        axis.set_xlabel("time t")
        axis.grid(color=GRID, linewidth=0.8)
    axes[0].set_ylabel("state − line")
