"""Features that tell labels, as a search has found them.

AudioSAE (arXiv 2602.05027), section on features of speech events: a feature is a label's if the F1 of "its highest
activation exceeds t" is above 0.5 for any t. Beside that: thresholds and scores on different clips, the F1 of always
saying yes, q-values against the highest F1 of all features, inverse features, and controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from .label_pictures import pictures_of
from .label_records import ControlLabels, FeatureScore, LabelRow

LISTED = 5
"""Features of each label in the table."""


@dataclass(frozen=True, kw_only=True)
class LabelSearch(Outcome):
    """Features of an SAE that tell the labels of clips."""

    TITLE: ClassVar[str] = "Labels: features that tell them"
    CLAIM: ClassVar[str] = (
        "A feature tells a label if its activation in a clip, against a threshold, does. Threshold and side are chosen "
        "on one part of the recordings, and the F1 is of the other. It stands beside that of saying yes to every clip; "
        "its q-value is against the highest F1 of all features under permuted labels, corrected for the number of "
        "labels."
    )

    features: int
    """Features of the SAE."""
    seen: int
    """Features with enough support in both parts."""
    rows: tuple[LabelRow, ...]
    """The labels, by name."""
    controls: tuple[ControlLabels, ...]
    """Controls in the SAE's place."""
    examples: tuple[Moment, ...] = ()
    """Clips that kept features are highest on."""

    def of(self, label: str) -> LabelRow:
        """The search of one label.

        Raises:
            KeyError: there is none of that name.
        """
        return {row.label: row for row in self.rows}[label]

    @property
    def found(self) -> tuple[str, ...]:
        """Labels that a feature tells."""
        return tuple(row.label for row in self.rows if row.kept)

    def figures(self) -> Sequence[Figure]:
        """Labels with a feature, beside the controls, and the numbers of the naive search."""
        against = ", ".join(f"{each.name} {sum(row.kept > 0 for row in each.rows)}" for each in self.controls)
        kept = sum(len(row.kept) for row in self.rows)
        naive = sum(row.naive for row in self.rows)
        null = sum(row.naive_null for row in self.rows)
        mean = sum(row.best.f1 for row in self.rows) / len(self.rows)
        base = sum(row.base_f1 for row in self.rows) / len(self.rows)
        says = f"of {len(self.rows)} labels have a feature that tells them" + (
            f"; controls: {against}" if against else ""
        )
        return [
            Figure(f"{len(self.found)}", says),
            Figure(f"{mean:.3f}", f"mean F1 of the labels' best features; saying yes to all {base:.3f}"),
            Figure(f"{kept}", f"pairs of feature and label are kept, of {self.seen} features with support"),
            Figure(f"{naive}", f"pairs if thresholds are chosen and scored on the same clips; permuted {null:.1f}"),
        ]

    def tables(self) -> Sequence[Table]:
        """The labels, their features, and the controls."""
        return [each for each in (self._labels(), self._kept(), self._controls()) if each.rows]

    def _labels(self) -> Table:
        rows = tuple(
            (
                row.label,
                f"{row.find_clips} + {row.report_clips}",
                f"{row.base_f1:.3f}",
                f"{row.smallest_f1:.3f}",
                _name(row.best),
                f"{row.best.find_f1:.3f}",
                f"{row.best.f1:.3f}" + ("" if row.best.interval is None else f" {row.best.interval}"),
                f"{row.best.q:.3g}",
                str(len(row.kept)),
                f"{row.naive} ({row.naive_null:.1f})",
            )
            for row in self.rows
        )
        header = ("", "clips", "yes to all", "could keep", "best", "chosen at", "F1", "q", "kept", "naive")
        sae = f"{self.seen} of {self.features} features have support in both parts. "
        note = (
            f"{sae}Best: the feature of the highest F1 on the clips to choose on. Could keep: the smallest F1 that "
            "could have been kept. Naive: features with an F1 above the bound at any threshold on the same clips, and "
            "with the labels permuted."
        )
        return Table("Labels", header, rows, note)

    def _kept(self) -> Table:
        rows = tuple(
            (
                f"{row.label}: {_name(each)}",
                f"{each.f1:.3f}" + ("" if each.interval is None else f" {each.interval}"),
                f"{each.precision:.3f}",
                f"{each.recall:.3f}",
                f"{each.average_precision:.3f}",
                f"{each.q:.3g}",
                f"{each.overlap_in_time:.3f}",
                f"{each.threshold:.3g}",
            )
            for row in self.rows
            for each in row.kept[:LISTED]
        )
        header = ("", "F1", "precision", "recall", "average precision", "q", "overlap in time", "threshold")
        note = (
            f"The {LISTED} of the highest F1 of each label. Inverse features fire where the label is absent. Overlap "
            "in time: frames that fire in clips of the label, over frames that fire or are of such clips."
        )
        return Table("Features that are kept", header, rows, note)

    def _controls(self) -> Table:
        rows = []
        for number, row in enumerate(self.rows if self.controls else ()):
            cells = [each.rows[number] if each.rows else None for each in self.controls]
            told = ("none seen" if cell is None else f"{cell.best_f1:.3f} ({cell.kept})" for cell in cells)
            rows.append((row.label, f"{row.best.f1:.3f} ({len(row.kept)})", *told))
        header = ("", "SAE", *(each.name for each in self.controls))
        return Table("Controls", header, tuple(rows), "F1 of the best feature, and in parentheses the number kept.")

    def pictures(self) -> Sequence[Picture]:
        """F1 of each label's best feature beside the base, the bound and the controls."""
        return pictures_of(self.rows, self.controls)

    def moments(self) -> Sequence[Moment]:
        """Clips that kept features are highest on."""
        return self.examples


def _name(score: FeatureScore) -> str:
    return f"{score.feature}{' inverse' if score.inverse else ''}"
