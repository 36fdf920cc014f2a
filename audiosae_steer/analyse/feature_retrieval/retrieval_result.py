"""Retrieval of clips by the names of features: precision, recall and mean average precision.

AR&D (arXiv 2602.22253) ranks clips by mean activation times coverage and scores names of features so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...evaluate.drawing import GRID, MUTED
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .retrieval_records import ControlRetrieval, MeanPrecision, NamedFeature


@dataclass(frozen=True, kw_only=True)
class Retrieval(Outcome):
    """Names of features as queries for clips."""

    TITLE: ClassVar[str] = "Retrieval: do the clips that a feature ranks first have its name"
    CLAIM: ClassVar[str] = (
        "Clips are ranked by a feature's activation, and those whose label is the feature's name are relevant. Average "
        "precision of a random order is about the share of relevant clips; the null permutes the labels of the clips."
    )

    found_here: bool
    """Names were found on other clips of the same data, rather than given."""
    clips: int
    """Clips that are ranked."""
    groups: int
    mean: MeanPrecision
    base: float
    """Mean share of relevant clips."""
    names: tuple[NamedFeature, ...]
    controls: tuple[ControlRetrieval, ...]

    def of(self, feature: int) -> NamedFeature:
        """The row of a feature. KeyError: it has no name."""
        return {row.feature: row for row in self.names}[feature]

    def figures(self) -> Sequence[Figure]:
        """Mean average precision beside its base, null and controls."""
        around = "" if self.mean.interval is None else f", 95 %: {self.mean.interval}"
        null = "" if self.mean.null is None else f"; labels permuted {self.mean.null} (p {self.mean.p:.3g})"
        says = f"mean average precision of {len(self.names)} names{around}; random order {self.base:.3f}{null}"
        found = [Figure(f"{self.mean.value:.3f}", says)]
        for each in self.controls:
            lead = "" if each.lead is None else f"; the SAE's lead, 95 %: {each.lead}"
            found.append(Figure(f"{each.mean:.3f}", f"by {each.name}, named and scored alike{lead}"))
        return found

    def tables(self) -> Sequence[Table]:
        """The mean beside its null and controls, and a line for each name."""
        rows = tuple(
            (f"{row.feature}: {row.name}", str(row.relevant), f"{row.average_precision:.3f}", f"{row.base:.3f}",
             f"{row.precision:.3f}", f"{row.precision_10:.3f}", f"{row.recall_10:.3f}")
            for row in self.names
        )  # fmt: skip
        header = ("feature", "relevant", "average precision", "random order", "at R", "precision at 10", "recall at 10")
        where = "found on other clips" if self.found_here else "given"
        note = f"Names were {where}; {self.clips} clips are ranked. At R both are equal."
        return [self._means(), Table("Names", header, rows, note)]

    def _means(self) -> Table:
        mean = self.mean
        rows = [("SAE", f"{mean.value:.3f}", str(mean.interval or ""), "", "")]
        for each in self.controls:
            lead = f"{mean.value - each.mean:+.3f}"
            rows.append((each.name, f"{each.mean:.3f}", str(each.interval or ""), lead, str(each.lead or "")))
        if mean.null is not None:
            rows.append(("labels permuted", "", str(mean.null), f"p {mean.p:.3g}", ""))
        rows.append(("random order", f"{self.base:.3f}", "", "", ""))
        note = f"Mean over {len(self.names)} names. A lead whose interval includes 0 may be none."
        header = ("", "mean average precision", "95 %", "SAE's lead", "95 %")
        return Table("Mean average precision", header, tuple(rows), note)

    def pictures(self) -> Sequence[Picture]:
        """Average precision of each name beside a random order's."""
        alt = "Bars: average precision of each name, with a mark at that of a random order; the table has the numbers"
        return [Picture("Average precision", alt, self._draw, height=0.26 * len(self.names) + 1.2)]

    def _draw(self, figure: Any) -> None:
        axis = figure.subplots()
        places = np.arange(len(self.names))
        axis.barh(places, [row.average_precision for row in self.names], 0.6, color="#1f5fa8")
        axis.plot([row.base for row in self.names], places, "|", color=MUTED, markersize=10, label="random order")
        axis.set_yticks(places, [f"{row.feature}: {row.name}" for row in self.names])
        axis.set_ylim(len(places) - 0.5, -0.5)
        axis.set_xlim(0, 1)
        axis.grid(axis="x", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.legend(frameon=False, fontsize=9)
