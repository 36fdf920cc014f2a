"""Pictures of features that are named after phones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .phone_records import ControlNames, NamedFeature, NameScores, PhoneRow, Probed

BAR, NULL = "#1f5fa8", "#c9ced6"
PROFILES = 24
"""Features in the picture of time profiles."""


class Drawn(NamedTuple):
    """Parts of `Phones` that pictures are of."""

    named: tuple[NamedFeature, ...]
    rows: tuple[PhoneRow, ...]
    scores: NameScores | None
    majority: float
    probe: Probed | None
    controls: tuple[ControlNames, ...]
    confusion: tuple[tuple[int, ...], ...]
    rate: float


def pictures_of(found: Drawn) -> Sequence[Picture]:
    """Scores beside nulls and controls, confusions of the vote, and time profiles of the purest features."""
    pictures = [
        Picture(
            "Scores beside their nulls",
            "Bars: any match and vote of the SAE and its controls, each beside that of shuffled names, the majority "
            "and a linear probe; the tables have the numbers",
            lambda figure: _scores(found, figure),
            height=3.4,
        )
    ]
    shown = [number for number, row in enumerate(found.rows) if row.report_frames]
    if found.scores is not None:
        size = 0.16 * len(shown) + 2.2
        pictures.append(
            Picture("Confusions of the vote", "Share of each phone's frames that the vote gives to each phone",
                    lambda figure: _confusion(found, shown, figure), width=size + 1.2, height=size)
        )  # fmt: skip
        pictures.append(
            Picture("Time profiles", "Firing of features before and after the onset and the offset of their phone",
                    lambda figure: _profiles(found, figure), height=0.17 * min(len(found.named), PROFILES) + 1.5)
        )  # fmt: skip
    return pictures


def _scores(found: Drawn, figure: Any) -> None:
    axes = figure.subplots(1, 2, sharex=True)
    named = [("SAE", found.scores), *((each.name, each.scores) for each in found.controls)]
    places = np.arange(len(named))
    for axis, title, seen, null in (
        (axes[0], "any match", "any_match", "any_null"), (axes[1], "vote", "vote", "vote_null")
    ):  # fmt: skip
        for offset, field, colour, label in ((-0.2, seen, BAR, title), (0.2, null, NULL, "names shuffled")):
            heights = [0.0 if scores is None else getattr(scores, field) for _, scores in named]
            axis.bar(places + offset, heights, 0.38, color=colour, label=label)
        axis.set_xticks(places, [name for name, _ in named])
        axis.set_ylim(0, 1)
        axis.grid(axis="y", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_title(title, fontsize=10, loc="left", color=INK)
    axes[1].axhline(found.majority, color=MUTED, linewidth=1.2, linestyle=":", label="majority")
    if found.probe is not None:
        axes[1].axhline(found.probe.accuracy, color=INK, linewidth=1.2, linestyle="--", label="linear probe")
    if found.scores is not None and found.scores.vote_interval is not None:
        axes[1].plot([-0.2, -0.2], found.scores.vote_interval, color=INK, linewidth=1.6)
    axes[0].set_ylabel("share of frames with a phone")
    for axis in axes:
        axis.legend(frameon=False, fontsize=7.5)


def _confusion(found: Drawn, shown: list[int], figure: Any) -> None:
    axis = figure.subplots()
    table = np.array(found.confusion, float)[shown][:, [*shown, len(found.rows)]]
    image = axis.imshow(table / table.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1)
    names = [found.rows[number].phone for number in shown]
    axis.set_xticks(range(len(names) + 1), [*names, "none"], rotation=90)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("vote")
    axis.set_ylabel("phone")
    axis.xaxis.set_ticks_position("bottom")
    bar = figure.colorbar(image, ax=axis, shrink=0.6)
    bar.outline.set_visible(False)
    bar.set_label("share of the phone's frames", fontsize=8, color=MUTED)


def _profiles(found: Drawn, figure: Any) -> None:
    axes = figure.subplots(1, 2, sharey=True)
    best = sorted(found.named, key=lambda each: -(each.report_purity or 0))[:PROFILES]
    best.sort(key=lambda each: (each.phone, each.feature))
    lags = (len(best[0].onset) - 1) // 2
    step = 1000 / found.rate if found.rate else 1.0
    extent = (-(lags + 0.5) * step, (lags + 0.5) * step, len(best) - 0.5, -0.5)
    for axis, field in zip(axes, ("onset", "offset"), strict=True):
        table = np.array([[np.nan if x is None else x for x in getattr(each, field)] for each in best], float)
        image = axis.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto", extent=extent, interpolation="nearest")
        axis.axvline(-0.5 * step, color=INK, linewidth=0.8)
        axis.set_xlabel(f"ms from the phone's {field}")
    axes[0].set_yticks(range(len(best)), [f"{each.phone}  {each.feature}" for each in best])
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.outline.set_visible(False)
    bar.set_label("share that fires", fontsize=8, color=MUTED)
