"""Completeness of codes: how few of their columns attributes of the sound need.

"Learning Interpretable Features in Audio Latent Spaces" and the code of sae_audio_ssl measure 1 − H / log n of Lasso
weights, after Eastwood and Williams (ICLR 2018). Beside that: held-out R², penalties by folds, and random codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .attribute_codes import PROJECTION, RELU_TOPK
from .completeness_pictures import pictures_of
from .completeness_records import AttributeRow, AttributeScore, CodeRow, Pair

UNEQUAL = 0.05
"""R² by which a code may be behind where it is called more complete."""


@dataclass(frozen=True, kw_only=True)
class Completeness(Outcome):
    """Codes by how few of their columns carry attributes."""

    TITLE: ClassVar[str] = "Completeness: how few columns carry an attribute"
    CLAIM: ClassVar[str] = (
        "A sparse regression predicts each attribute from a code; R² is of speakers or recordings that it was not "
        "fitted on. The number of columns that carry an attribute is exp(H) of the shares of the weights: fewer is "
        "more complete. The papers' 1 − H / log n grows with the size n of a code alone, and so nothing is concluded "
        "from it. Codes are compared on attributes that they explain, beside random codes and a rotation."
    )

    source: str
    """Origin of the attributes."""
    codes: tuple[CodeRow, ...]
    """The code in question, and those that it is held against."""
    attributes: tuple[AttributeRow, ...]
    """Each attribute by each code."""
    common: tuple[str, ...]
    """Attributes that all codes explain."""
    pairs: tuple[Pair, ...]
    """Each other code against the first."""

    def of(self, code: str) -> CodeRow:
        """The row of a code. KeyError: there is no such code."""
        return {row.name: row for row in self.codes}[code]

    def against(self, code: str) -> Pair:
        """A code against the first. KeyError: there is no such code, or it is the first."""
        return {pair.name: pair for pair in self.pairs}[code]

    def score(self, attribute: str, code: str) -> AttributeScore:
        """One attribute by one code. KeyError: there is none such."""
        row = {row.name: row for row in self.attributes}[attribute]
        return {score.code: score for score in row.scores}[code]

    @property
    def more_complete(self) -> bool:
        """The first code needs fewer columns than every other, random ones of its size among them, at an R² that is
        not lower by more than 0.05."""
        random = {PROJECTION, RELU_TOPK} & {pair.name for pair in self.pairs}
        return bool(random) and all(
            pair.interval is not None and pair.interval.low > 1 and (pair.r2 or 0) <= UNEQUAL for pair in self.pairs
        )

    def figures(self) -> Sequence[Figure]:
        """Attributes explained, each other code against the first, and the conclusion."""
        first = self.codes[0]
        total = len(self.attributes)
        found = [
            Figure(f"{first.explained}", f"of {total} attributes are explained by {first.name}"),
            Figure(f"{len(self.common)}", "are explained by all codes"),
        ]
        for pair in self.pairs:
            if pair.ratio is None:
                found.append(Figure("none", f"of the attributes can be compared with {pair.name}"))
                continue
            around = "" if pair.interval is None else f", 95 %: {pair.interval}"
            says = f"times the carriers of {first.name} in {pair.name}{around}: {pair.verdict}"
            found.append(Figure(f"{pair.ratio:.2f}", says))
        says = f"{first.name} is more complete than all of these, random codes of its size included"
        return [*found, Figure("yes" if self.more_complete else "not shown", f"that {says}")]

    def tables(self) -> Sequence[Table]:
        """Codes, pairs, and attributes."""
        header = ("code", "n", "vary", "explains", "R²", "exp(H)", "c_common", "c_paper", "modularity")
        rows = tuple(
            (row.name, str(row.n), str(row.varying), f"{row.explained} of {len(self.attributes)}", _word(row.r2),
             _word(row.effective, 2), _word(row.c_common), _word(row.c_paper), _word(row.modularity))
            for row in self.codes
        )  # fmt: skip
        note = (
            f"Attributes: {self.source}. Means from R² on are over the {len(self.common)} attributes that all codes "
            "explain. c_paper grows with n alone: never compare it over codes of different sizes."
        )
        codes = Table("Codes", header, rows, note)
        columns = ("against the first", "attributes", "exp(H), times", "95 %", "R²", "95 %", "c_paper", "so it is")
        pairs = tuple(
            (pair.name, str(pair.attributes), _word(pair.ratio, 2), str(pair.interval or ""), _word(pair.r2),
             str(pair.r2_interval or ""), _word(pair.c_paper), pair.verdict)
            for pair in self.pairs
        )  # fmt: skip
        return [codes, Table("Pairs", columns, pairs, "Over the attributes that both explain."), self._by_attribute()]

    def _by_attribute(self) -> Table:
        names = tuple(row.name for row in self.codes)
        header = ("attribute", "family", *(f"{name}: R² · exp(H)" for name in names), f"columns of {names[0]}")
        rows = []
        for row in self.attributes:
            cells = tuple(
                f"{_word(score.r2)} · {_word(score.effective, 1) if score.explained else 'not explained'}"
                for score in row.scores
            )
            told = ", ".join(str(i) for i, _ in row.scores[0].features) if row.scores[0].explained else ""
            rows.append((row.name, row.family, *cells, told))
        return Table("Attributes", header, tuple(rows), "An attribute that is not explained has no completeness.")

    def pictures(self) -> Sequence[Picture]:
        """Ratios, R² and carriers."""
        return pictures_of(self.attributes, self.pairs, self.codes[0].name)


def _word(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
