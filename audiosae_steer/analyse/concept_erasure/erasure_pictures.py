"""Picture of an erasure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from ..probes.probe_pictures import LINES, SAE_LINE
from .erasure_records import ControlErasure, ErasurePoint, RandomRemoval


def picture_of(
    concept: str,
    others: Sequence[str],
    points: Sequence[ErasurePoint],
    controls: Sequence[ControlErasure],
    random: Sequence[RandomRemoval],
    chance: float,
) -> Picture:
    """Scores by number of removed features: the concept's with its interval, the others', controls and random order."""

    def draw(figure: Any) -> None:
        axis = figure.subplots()
        ks = [point.k for point in points]
        scores = [point.concept.score for point in points]
        bands = [point.concept.interval or (point.concept.score,) * 2 for point in points]
        axis.fill_between(ks, [low for low, _ in bands], [high for _, high in bands], color=SAE_LINE, alpha=0.15, lw=0)
        axis.plot(ks, scores, color=SAE_LINE, marker="o", markersize=4, label=concept)
        for number, name in enumerate(others):
            axis.plot(ks, [point.others[number] for point in points], color=GRID, lw=1.5, label=name)
        for each in controls:
            line = [(point.k, point.concept.score) for point in each.points]
            axis.plot(
                *zip(*line, strict=True), color=LINES.get(each.name, MUTED), lw=1.2, label=f"{concept}, {each.name}"
            )
        if random:
            line = [(each.k, each.score) for each in random]
            axis.plot(*zip(*line, strict=True), color=INK, lw=1, ls="--", label=f"{concept}, random order")
        axis.axhline(chance, color=MUTED, lw=1, ls=":", label="chance")
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xlim(0, max(ks))
        axis.grid(color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_xlabel("features removed, the best first")
        axis.set_ylabel("score")
        axis.legend(frameon=False, fontsize=8)

    alt = (
        "Lines: score of the concept with its 95 % interval, of other concepts, of controls and in random order, by "
        "number of features removed; the table has the numbers"
    )
    return Picture("Without the best features", alt, draw)
