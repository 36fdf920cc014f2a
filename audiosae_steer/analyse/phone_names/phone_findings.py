"""Features that are named after phones, and how well the names hold on other recordings.

AudioSAE (arXiv 2602.05027), section on phonemes: a feature is a phoneme's if it fills more than half of the feature's
aligned active frames; a frame is right if any active feature has the right name. Beside that: lift over the phone's own
share, names shuffled, one vote per frame, a linear probe of the residual, time profiles, and controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from .phone_pictures import Drawn, pictures_of
from .phone_records import BoundaryFeature, ControlNames, NamedFeature, NameScores, PhoneRow, Probed

LISTED = 40
"""Features in the table."""
BORDERS = 10
"""Features of borders in the table."""


@dataclass(frozen=True, kw_only=True)
class Phones(Outcome):
    """Features of an SAE that are named after phones."""

    TITLE: ClassVar[str] = "Phones: features that fire on them"
    CLAIM: ClassVar[str] = (
        "A feature is named after a phone that fills more than half of the aligned frames on which it fires, and at "
        "least three times as much as the phone fills of all frames. Names are given on one part of the recordings and "
        "scored on the other, beside the same names shuffled among the features, one vote per frame, the most frequent "
        "phone, a linear probe of the residual, and controls."
    )

    features: int
    """Features of the SAE."""
    seen: int
    """Features with enough support in `find`."""
    named_by_chance: float
    """Features that get a name if the phones are shifted by at least 1 s within each clip, on average."""
    named: tuple[NamedFeature, ...]
    """Named features, by phone, the purest first."""
    rows: tuple[PhoneRow, ...]
    """The phones, by name."""
    silence: float
    """Share of the aligned frames of `report` that are silence."""
    scores: NameScores | None
    """Scores of the names on `report`; None if there are none."""
    majority: float
    """Share of `report` of the most frequent phone of `find`."""
    confusion: tuple[tuple[int, ...], ...]
    """Frames of `report` by phone (rows) and vote (columns, the last: no vote)."""
    boundary: tuple[BoundaryFeature, ...]
    """Features that fire at borders between phones, the highest ratio first."""
    rate: float
    """Frames per second."""
    probe: Probed | None
    """Linear probe on the residual."""
    controls: tuple[ControlNames, ...]
    """Controls in the SAE's place."""
    examples: tuple[Moment, ...] = ()
    """Stretches in which named features fire."""

    def of(self, phone: str) -> tuple[NamedFeature, ...]:
        """Features that are named after a phone, the purest first."""
        return tuple(each for each in self.named if each.phone == phone)

    @property
    def held(self) -> int:
        """Number of names that hold on `report`: the phone fills more than half of the feature's frames there too."""
        return sum(each.holds for each in self.named)

    def figures(self) -> Sequence[Figure]:
        """Named features, the excess of any match, and the vote, each beside its null."""
        against = ", ".join(f"{each.name} {each.named}" for each in self.controls)
        figures = [
            Figure(
                f"{len(self.named)}",
                f"of {self.seen} features with support have a name; phones shifted {self.named_by_chance:.1f}"
                + (f"; controls: {against}" if against else ""),
            ),
            Figure(f"{self.held}", "names hold on other recordings"),
        ]
        if self.scores is not None:
            probe = "" if self.probe is None else f", linear probe {self.probe.accuracy:.3f}"
            figures += [
                Figure(
                    f"{self.scores.excess:.3f}",
                    f"any match above its null: {self.scores.any_match:.3f}, names shuffled {self.scores.any_null:.3f}",
                ),
                Figure(
                    f"{self.scores.vote:.3f}",
                    f"accuracy of the vote; names shuffled {self.scores.vote_null:.3f}, most frequent phone "
                    f"{self.majority:.3f}{probe}",
                ),
            ]
        return figures

    def tables(self) -> Sequence[Table]:
        """Scores beside the controls, phones, named features, and features of borders."""
        return [each for each in (self._scores(), self._phones(), self._features(), self._borders()) if each.rows]

    def _scores(self) -> Table:
        rows = [_score_row("SAE", (self.seen, self.features), len(self.named), self.held, self.scores)]
        rows += [
            _score_row(each.name, (each.seen, each.features), each.named, each.held, each.scores)
            for each in self.controls
        ]
        blank = ("",) * 6
        rows.append(("most frequent phone", *blank, f"{self.majority:.3f}", "", ""))
        if self.probe is not None:
            rows.append(
                ("linear probe of the residual", *blank, f"{self.probe.accuracy:.3f}", "", f"{self.probe.macro_f1:.3f}")
            )
        header = (
            "", "seen", "named", "hold", "any match", "names shuffled", "excess", "vote", "names shuffled", "macro-F1",
        )  # fmt: skip
        note = (
            "Any match: share of frames on which any active feature has the right name. Vote: the phone of the largest "
            f"sum of log-lifts of active features; without any, wrong. With the phones shifted by at least 1 s, "
            f"{self.named_by_chance:.1f} features of the SAE get a name. {self.silence:.1%} of aligned frames are "
            "silence, which is in the purity, and not among the frames that are scored."
        )
        return Table("Scores", header, tuple(rows), note)

    def _phones(self) -> Table:
        rows = tuple(
            (
                row.phone,
                f"{row.find_frames} + {row.report_frames}",
                str(row.features),
                _number(row.recall),
                _number(row.precision),
                "" if row.best is None else str(row.best),
            )
            for row in sorted(self.rows, key=lambda row: -row.report_frames)
        )
        header = ("", "frames", "features", "recall of the vote", "precision", "purest feature")
        return Table("Phones", header, rows)

    def _features(self) -> Table:
        best = sorted(self.named, key=lambda each: -each.purity)[:LISTED]
        rows = tuple(
            (
                f"{each.feature}: {each.phone}",
                f"{each.frames} + {each.report_frames}",
                f"{each.purity:.3f}",
                f"{each.lift:.1f}",
                _number(each.report_purity),
                _number(each.recall),
            )
            for each in best
        )
        header = ("", "frames", "purity", "lift", "purity on others", "share of the phone")
        note = (
            f"The {min(LISTED, len(self.named))} purest of {len(self.named)}. Purity and lift are of the recordings "
            "that names were given on; purity on others, and the share of the phone's frames on which the feature "
            "fires, of those to report on."
        )
        return Table("Named features", header, rows, note)

    def _borders(self) -> Table:
        rows = tuple(
            (str(each.feature), f"{each.ratio:.1f}", "" if each.report_ratio is None else f"{each.report_ratio:.1f}")
            for each in self.boundary[:BORDERS]
        )
        held = sum((each.report_ratio or 0) >= 2 for each in self.boundary)
        against = ", ".join(f"{each.name} {each.boundary}" for each in self.controls)
        note = (
            f"{len(self.boundary)} features fire at least twice as densely within 20 ms of a border as elsewhere, and "
            f"{held} of them on the other recordings too." + (f" Controls: {against}." if against else "")
        )
        return Table("Features of borders", ("", "ratio", "ratio on others"), rows, note)

    def pictures(self) -> Sequence[Picture]:
        """Scores beside nulls and controls, confusions, and time profiles."""
        told = (self.named, self.rows, self.scores, self.majority, self.probe, self.controls)
        return pictures_of(Drawn(*told, self.confusion, self.rate))

    def moments(self) -> Sequence[Moment]:
        """Stretches in which named features fire."""
        return self.examples


def _score_row(name: str, seen: tuple[int, int], named: int, held: int, scores: NameScores | None) -> tuple[str, ...]:
    told = (name, f"{seen[0]} of {seen[1]}", str(named), str(held))
    if scores is None:
        return (*told, "", "", "", "", "", "")
    excess = f"{scores.excess:.3f}" + ("" if scores.excess_interval is None else f" {scores.excess_interval}")
    vote = f"{scores.vote:.3f}" + ("" if scores.vote_interval is None else f" {scores.vote_interval}")
    return (
        *told, f"{scores.any_match:.3f}", f"{scores.any_null:.3f}", excess, vote, f"{scores.vote_null:.3f}",
        f"{scores.macro_f1:.3f}",
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
