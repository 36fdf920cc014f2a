"""Localisation of a property: how far patching a layer moves it from one clip's to another's.

Activation patching, as TADA! (arXiv 2602.11910) uses it before steering. Beside that: sources of the same label, and
the layer's update in place of its whole state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...evaluate.drawing import GRID, MUTED
from ..frame.intervals import Interval
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .localisation_records import LayerMove


@dataclass(frozen=True, kw_only=True)
class Localisation(Outcome):
    """Layers by how far their update moves a property."""

    TITLE: ClassVar[str] = "Localisation: the layers whose update carries a property"
    CLAIM: ClassVar[str] = (
        "A layer's update in one clip is replaced by that in another clip, and a probe at a later layer, fitted on "
        "other speakers or recordings, reads the property: 0 is as before, 1 as in the other clip. The null is the "
        "same with clips of the same label, which moves the output as well, but should not move the property."
    )

    base: str
    """Label of the clips that are patched."""
    source: str
    """Label of those that the patch is of."""
    read: int
    """Layer at which the probe reads."""
    patch: str
    pairs: int
    groups: int
    """Speakers or recordings of the bases."""
    probe: float
    """Balanced accuracy of the probe on the clips of the part that pairs are of."""
    probe_interval: Interval | None
    layers: tuple[LayerMove, ...]

    def at(self, layer: int) -> LayerMove:
        """The row of a layer. KeyError: it was not patched."""
        return {row.layer: row for row in self.layers}[layer]

    @property
    def best(self) -> int | None:
        """Layer of the largest excess, None if no interval lies above 0."""
        known = [row for row in self.layers if row.excess_interval is not None and row.excess_interval.low > 0]
        return max(known, key=lambda row: row.excess).layer if known else None

    def figures(self) -> Sequence[Figure]:
        """The layer that moves the property most, and how well the probe reads it."""
        around = "" if self.probe_interval is None else f", 95 %: {self.probe_interval}"
        probe = Figure(f"{self.probe:.3f}", f"balanced accuracy of the probe at layer {self.read}{around}")
        if self.best is None:
            return [Figure("none", "of the layers moves the property beyond its null"), probe]
        row = self.at(self.best)
        says = f"is the layer that moves {self.base} most towards {self.source}: {row.move:+.2f}, null {row.null:+.2f}"
        return [Figure(f"{self.best}", says), probe]

    def tables(self) -> Sequence[Table]:
        """A line for each layer."""
        rows = tuple(
            (str(row.layer), f"{row.move:+.3f}", str(row.interval or ""), f"{row.null:+.3f}", f"{row.excess:+.3f}",
             str(row.excess_interval or ""), f"{row.flipped:.0%}", f"{row.output:+.3f}")
            for row in self.layers
        )  # fmt: skip
        header = ("layer", "move", "95 %", "null", "excess", "95 %", "flipped", "output")
        note = (
            f"{self.pairs} pairs of {self.base} with {self.source}, bases of {self.groups} speakers or recordings; the "
            f"{self.patch} of a layer is patched, and layer {self.read} is read."
        )
        if self.patch == "state":
            note += " A whole state, on all frames, carries all that lies below: it moves everything at each layer."
        return [Table("Layers", header, rows, note)]

    def pictures(self) -> Sequence[Picture]:
        """Move and null by layer."""
        alt = "Points: how far the property moves when a layer is patched, with intervals, beside the null by layer"
        return [Picture("Move by layer", alt, self._draw)]

    def _draw(self, figure: Any) -> None:
        axis = figure.subplots()
        for row in self.layers:
            if row.interval is not None:
                axis.plot([row.layer, row.layer], row.interval, color="#1f5fa8", linewidth=1.4)
        layers = [row.layer for row in self.layers]
        axis.plot(layers, [row.move for row in self.layers], "o-", color="#1f5fa8", label="other label")
        axis.plot(layers, [row.null for row in self.layers], "o--", color=MUTED, markersize=4, label="same label")
        axis.axhline(0, color=MUTED, linewidth=1, linestyle=":")
        axis.axhline(1, color=MUTED, linewidth=1, linestyle=":")
        axis.set_xticks(layers)
        axis.grid(axis="y", color=GRID, linewidth=0.8)
        axis.set_xlabel("layer")
        axis.set_ylabel("0: base, 1: source")
        axis.legend(frameon=False, fontsize=9)
