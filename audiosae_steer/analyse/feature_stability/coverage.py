"""Stability of an SAE's features: how many of them another SAE has as well, by the frames on which they fire.

AudioSAE (arXiv 2602.05027), section on stability and its appendix: a feature of A is covered by B if one of B's has
χ > 0.5 with it. Beside that: a null by circular shifts, an assignment one to one, duplicates, and intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.intervals import Interval
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from .coverage_pictures import pictures_of
from .coverage_records import ControlCoverage, DecoderMatch, DensityRow, HeldOut, Side


@dataclass(frozen=True, kw_only=True)
class Coverage(Outcome):
    """Coverage of the features of A by those of B."""

    TITLE: ClassVar[str] = "Stability: how many features the other SAE has as well"
    CLAIM: ClassVar[str] = (
        "A feature of A is covered if a feature of B fires on the same frames: χ, the frames on which both fire over "
        "those on which either does, is above the bound. Features that fire often overlap by chance, and so the share "
        "stands beside that of B's patterns shifted in time within each clip; what counts is the excess. Features with "
        "too little support are left out, and counted."
    )

    side: Side
    """Coverage of A by B."""
    interval: Interval | None
    """95 % interval of the share, groups drawn with replacement, of the features seen in all; None for one group."""
    p: float
    """Of the share under the shifts, (1 + shifts that reach it) / (1 + shifts)."""
    null_shares: tuple[float, ...]
    """Share of each shift."""
    back: Side
    """Coverage of B by A."""
    one_to_one: float
    """Share of A's seen features that have a partner of their own, under the assignment of largest total χ."""
    null_one_to_one: float
    """The same after shifts, the mean of all."""
    held_out: HeldOut | None
    """Partners chosen and measured on different groups; None where there are fewer than two."""
    by_density: tuple[DensityRow, ...]
    """A's features by their density, the share of frames on which they fire."""
    decoder: DecoderMatch | None
    """Match by decoder rows; None for patterns alone, or different sites."""
    controls: tuple[ControlCoverage, ...]
    """Coverage of A by controls of B."""
    offset: float
    """Frames of a clip of B less those of A, on average; clips are cut to the shorter."""
    partners: tuple[int | None, ...]
    """(F_a,) best partner of each feature; None if unseen or without any overlap."""
    chi: tuple[float | None, ...]
    """(F_a,) its χ; None if unseen."""
    assigned: tuple[int | None, ...]
    """(F_a,) partner under the assignment one to one."""
    examples: tuple[Moment, ...] = ()
    """Stretches on which matched features fire."""

    @property
    def seen(self) -> int:
        """Features of A with enough support."""
        return self.side.seen

    @property
    def covered(self) -> int:
        """Features of A that are covered."""
        return self.side.covered

    @property
    def share(self) -> float:
        """Covered over seen."""
        return self.side.share

    @property
    def null_share(self) -> float:
        """Share after shifts, the mean of all."""
        return self.side.null_share

    @property
    def excess(self) -> float:
        """Share above the null's."""
        return self.side.excess

    @property
    def duplicates(self) -> int:
        """Seen features of A with χ > θ to another feature of A."""
        return self.side.duplicates

    def figures(self) -> Sequence[Figure]:
        """Share, excess, one to one, and duplicates."""
        around = "" if self.interval is None else f", 95 %: {self.interval}"
        seen = f"{self.covered} of {self.seen} features with support are covered{around}"
        found = [
            Figure(f"{self.share:.1%}", seen),
            Figure(
                f"{self.excess:+.1%}", f"above the null of shifted patterns, {self.null_share:.1%} (p {self.p:.3g})"
            ),
            Figure(f"{self.one_to_one:.1%}", f"have a partner of their own; shifted {self.null_one_to_one:.1%}"),
            Figure(
                f"{self.duplicates}",
                f"are duplicates of another feature of A; shifted {self.side.null_duplicates:.1f}",
            ),
        ]
        unseen = self.side.features - self.side.seen
        return [*found, Figure(f"{unseen}", f"of {self.side.features} features have too little support to be judged")]

    def tables(self) -> Sequence[Table]:
        """Both directions and the controls, the densities, and the second opinions."""
        header = ("", "features", "seen", "covered", "share", "null", "excess", "duplicates", "their null")
        rows = tuple((name, *_cells(side)) for name, side in self._lines())
        theta = self.provenance.settings.get("theta", 0.5)
        note = (
            f"{self._names()}χ > {theta:g}. Duplicates are of the dictionary that is covered, and in the rows of "
            "controls of the control."
        )
        first = Table("Coverage", header, rows, note)
        second = Table(
            "By density",
            ("fires on", "seen", "covered", "share", "null", "excess"),
            tuple(_density_cells(row) for row in self.by_density if row.seen),
            "Two features that fire on two thirds of all frames overlap by chance: read the excess.",
        )
        return [first, second, Table("Second opinions", ("", "share", "of", "null"), tuple(self._opinions()))]

    def _names(self) -> str:
        """A sentence for each SAE, where they are known."""
        named = zip("AB", self.provenance.saes, strict=False)
        return "".join(
            f"{name}: {sae.gate}, {sae.n_features} features, {sae.l0 or 0:.1f} on a frame, {(sae.sha256 or '')[:8]}. "
            for name, sae in named
        )

    def _lines(self) -> list[tuple[str, Side]]:
        controls = [(f"A by {each.name} B", each.side) for each in self.controls]
        return [("A by B", self.side), ("B by A", self.back), *controls]

    def _opinions(self) -> Sequence[tuple[str, ...]]:
        found = [("one to one", f"{self.one_to_one:.3f}", str(self.seen), f"{self.null_one_to_one:.3f}")]
        if self.held_out is not None:
            held = self.held_out
            row = ("partners chosen on other groups", f"{held.share:.3f}", str(held.seen), f"{held.null_share:.3f}")
            found.append(row)
        if self.decoder is not None:
            found.append(
                ("decoder rows", f"{self.decoder.share:.3f}", str(self.seen), f"{self.decoder.null_share:.3f}")
            )
            if self.decoder.same_partner is not None:
                found.append(("same partner by either", f"{self.decoder.same_partner:.3f}", "", ""))
        return found

    def pictures(self) -> Sequence[Picture]:
        """χ of the best partners against density, and the shares beside their nulls."""
        chi = [each for each in self.chi if each is not None]
        theta = self.provenance.settings.get("theta", 0.5)
        return pictures_of(self._lines(), self.interval, chi, theta, self.by_density)

    def moments(self) -> Sequence[Moment]:
        """Stretches on which matched features fire."""
        return self.examples


def _cells(side: Side) -> tuple[str, ...]:
    return (
        str(side.features), str(side.seen), str(side.covered), f"{side.share:.3f}", f"{side.null_share:.3f}",
        f"{side.excess:+.3f}", str(side.duplicates), f"{side.null_duplicates:.1f}",
    )  # fmt: skip


def _density_cells(row: DensityRow) -> tuple[str, ...]:
    share = row.covered / row.seen
    numbers = (f"{share:.3f}", f"{row.null_share:.3f}", f"{share - row.null_share:+.3f}")
    return (f"{100 * row.low:.4g} to {100 * row.high:.4g} % of frames", str(row.seen), str(row.covered), *numbers)
