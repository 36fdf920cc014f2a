"""Word error rate of what a Whisper writes from an SAE's reconstruction in place of the residual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...evaluate.drawing import GRID, INK
from ..frame.intervals import Interval
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .reconstruction_records import WrittenFrom


@dataclass(frozen=True, kw_only=True)
class Reconstructions(Outcome):
    """Word error rates without an SAE, from its reconstruction, and from its bias alone."""

    TITLE: ClassVar[str] = "Reconstruction: the words that the SAE keeps"
    CLAIM: ClassVar[str] = (
        "Every frame at one layer, padding and all, is replaced by the SAE's reconstruction, and the model writes what "
        "it hears in that. Beside it: the model itself, and the reconstruction without any feature. Decoding is "
        "greedy, with timestamps, of the first 30 s of each clip."
    )

    layer: int
    clips: int
    words: int
    """Words of the transcripts."""
    rows: tuple[WrittenFrom, ...]
    """The model itself first, then the SAE, further thresholds, and the bias alone."""

    def of(self, name: str) -> WrittenFrom:
        """The row of that name. KeyError: there is none."""
        return {row.name: row for row in self.rows}[name]

    def figures(self) -> Sequence[Figure]:
        """WER of each, and its change."""
        found = []
        for row in self.rows:
            change = "" if row.change is None else f", {_points(row.change, row.change_interval)}"
            found.append(
                Figure(f"{row.wer:.1%}", f"word error rate of {row.name}, 95 %: {_percent(row.interval)}{change}")
            )
        return found

    def tables(self) -> Sequence[Table]:
        """WER with and without loops, and the changes."""
        rows = tuple(
            (row.name, f"{row.wer:.2%}", _percent(row.interval), "" if row.change is None else
             _points(row.change, row.change_interval), f"{row.capped:.2%}", "" if row.capped_change is None else
             _points(row.capped_change, row.capped_interval), str(row.empty))
            for row in self.rows
        )  # fmt: skip
        header = ("", "WER", "95 %", "change", "loops capped", "change", "empty")
        note = f"Layer {self.layer}, {self.clips} clips of {self.words} words. Changes are paired, in points."
        return [Table("Word error rate", header, rows, note)]

    def pictures(self) -> Sequence[Picture]:
        """WER of each with its interval."""
        alt = "Bars: word error rate of the model, from the reconstruction and from the bias alone; the table has them"
        return [Picture("Word error rate", alt, self._draw, height=0.5 * len(self.rows) + 1.2)]

    def _draw(self, figure: Any) -> None:
        axis = figure.subplots()
        for place, row in enumerate(self.rows):
            axis.barh(place, row.wer, 0.5, color="#1f5fa8")
            axis.plot(row.interval, [place, place], color=INK, linewidth=1.4)
        axis.set_yticks(np.arange(len(self.rows)), [row.name for row in self.rows])
        axis.set_ylim(len(self.rows) - 0.5, -0.5)
        axis.xaxis.set_major_formatter(lambda share, at: f"{share:.0%}")
        axis.grid(axis="x", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.set_xlabel("word error rate")


def _percent(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(change: float, interval: Interval | None) -> str:
    around = "" if interval is None else f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
    return f"{100 * change:+.1f}{around} points"
