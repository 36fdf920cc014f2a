"""Pictures of probe curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .probe_records import ControlCurves, Curves, ProbePoint, RandomOrder

LINES = {"dense": "#b8651b", "random": "#7a8594", "permuted": "#a9b1bc"}
SAE_LINE = "#1f5fa8"


def pictures_of(
    curves: Curves, controls: Sequence[ControlCurves], random: Sequence[RandomOrder], chance: float
) -> list[Picture]:
    """Scores on the k best features alone, and without them.

    Args:
        curves: of the SAE.
        controls: of controls.
        random: means over random orders.
        chance: score of chance.
    """

    def top(figure: Any) -> None:
        lines = [(each.name, (*each.curves.top, each.curves.full)) for each in controls]
        _draw(figure, (*curves.top, curves.full), lines, [(each.k, each.top) for each in random], chance)

    def unlearned(figure: Any) -> None:
        lines = [(each.name, each.curves.unlearned) for each in controls]
        _draw(figure, curves.unlearned, lines, [(each.k, each.unlearned) for each in random], chance)

    return [
        Picture(
            "The k best features alone",
            "Lines: balanced accuracy by number of features, of the SAE with its 95 % interval, controls, features in "
            "random order, and chance; the table has the numbers",
            top,
        ),
        Picture(
            "Without the k best features",
            "Lines: balanced accuracy by number of features that were removed, of the SAE with its 95 % interval, "
            "controls, features in random order, and chance; the table has the numbers",
            unlearned,
        ),
    ]


def _draw(
    figure: Any,
    points: Sequence[ProbePoint],
    controls: Sequence[tuple[str, Sequence[ProbePoint]]],
    random: Sequence[tuple[int, float]],
    chance: float,
) -> None:
    axis = figure.subplots()
    ks = [point.k for point in points]
    bands = [point.interval or (point.score, point.score) for point in points]
    axis.fill_between(ks, [low for low, _ in bands], [high for _, high in bands], color=SAE_LINE, alpha=0.15, lw=0)
    axis.plot(ks, [point.score for point in points], color=SAE_LINE, marker="o", markersize=4, label="SAE")
    for name, found in controls:
        axis.plot([p.k for p in found], [p.score for p in found], color=LINES.get(name, MUTED), lw=1.2, label=name)
    if random:
        axis.plot([k for k, _ in random], [s for _, s in random], color=INK, lw=1, ls="--", label="random order")
    axis.axhline(chance, color=MUTED, lw=1, ls=":", label="chance")
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(0, max([*ks, *(p.k for _, found in controls for p in found)]))
    axis.set_ylim(min(0.9 * chance, *(low for low, _ in bands)), 1.02)
    axis.grid(color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel("features")
    axis.set_ylabel("balanced accuracy")
    axis.legend(frameon=False, fontsize=9)
