"""Comparison of one analysis over a list: one table, one picture, and paired differences where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .comparison_pictures import pictures_of
from .comparison_records import Entry, PairedDifference


@dataclass(frozen=True, kw_only=True)
class Comparison(Outcome):
    """One analysis over a list of SAEs, layers or models."""

    TITLE: ClassVar[str] = "Comparison"
    CLAIM: ClassVar[str] = (
        "The same analysis of several SAEs, layers or models, each number beside its own null and controls. A "
        "difference between two intervals is no test: where the same clips were scored, differences are paired. An SAE "
        "is credited only with what it has beyond the random dictionary that fires as often."
    )

    analysis: str
    """Class of the results."""
    entries: tuple[Entry, ...]
    pairs: tuple[PairedDifference, ...] = ()
    """Paired differences of probes on the same clips."""

    def of(self, name: str) -> Entry:
        """The entry of that name. KeyError: there is none."""
        return {entry.name: entry for entry in self.entries}[name]

    def figures(self) -> Sequence[Figure]:
        """Number of each entry, and differences that hold."""
        found = []
        for entry in self.entries:
            one = entry.headline
            around = "" if one.interval is None else f", 95 %: {one.interval}"
            against = "".join(f"; {name} {_number(value)}" for name, value in one.controls)
            null = "" if one.null is None else f"; null {_number(one.null)}"
            found.append(Figure(_number(one.value), f"{one.measure}, {entry.name}{around}{null}{against}"))
        if self.pairs:
            held = sum(pair.adjusted is not None and pair.adjusted < 0.05 for pair in self.pairs)
            found.append(Figure(f"{held}", f"of {len(self.pairs)} pairs differ (McNemar, after Holm, below 0.05)"))
        return found

    def tables(self) -> Sequence[Table]:
        """The entries, paired differences, and all numbers of each result."""
        names = tuple(dict.fromkeys(name for entry in self.entries for name, _ in entry.headline.controls))
        header = ("", "site", "features", "L0", "value", "95 %", "null", *names)
        rows = []
        for entry in self.entries:
            one, controls = entry.headline, dict(entry.headline.controls)
            cells = (entry.site or "", str(entry.features or ""), "" if entry.l0 is None else f"{entry.l0:.1f}")
            numbers = (_number(one.value), str(one.interval or ""), _number(one.null))
            rows.append((entry.name, *cells, *numbers, *(_number(controls.get(name)) for name in names)))
        measures = "; ".join(dict.fromkeys(entry.headline.measure for entry in self.entries))
        shown = [Table(f"{self.analysis} compared", header, tuple(rows), f"Value: {measures}.")]
        if self.pairs:
            shown.append(self._paired())
        lines = tuple((entry.name, value, says) for entry in self.entries for value, says in entry.figures)
        return [*shown, Table("All numbers", ("", "value", "says"), lines)]

    def _paired(self) -> Table:
        rows = tuple(
            (
                f"{pair.first} − {pair.second}", f"{pair.difference:+.3f}", str(pair.interval or ""),
                str(pair.only_first), str(pair.only_second), _number(pair.p), _number(pair.adjusted),
            )
            for pair in self.pairs
        )  # fmt: skip
        note = (
            "Differences of balanced accuracy on the same held-out clips, speakers or recordings drawn with "
            "replacement. McNemar's test takes clips for independent, which those of one speaker are not: where the "
            "two disagree, believe the interval."
        )
        header = ("", "difference", "95 %", "only first", "only second", "McNemar p", "Holm")
        return Table("Paired differences", header, rows, note)

    def pictures(self) -> Sequence[Picture]:
        """Each entry with its interval, null and controls."""
        return pictures_of(self.entries, self.entries[0].headline.measure)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 10 and value != round(value) else f"{value:.6g}"
