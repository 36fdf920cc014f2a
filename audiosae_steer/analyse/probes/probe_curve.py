"""Probe curves: how many features tell a label, and without how many it can no longer be told.

AudioSAE (arXiv 2602.05027), sections on top-k probing and on unlearning. Beside that: parts by speaker, chance, a dense
and a random dictionary, random orders, and intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.intervals import Interval
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from .probe_pictures import pictures_of
from .probe_records import ControlCurves, Curves, ProbePoint, RandomOrder, Told

SHOWN = 12
"""Features that the page names."""


@dataclass(frozen=True, kw_only=True)
class ProbeCurve(Outcome):
    """Scores of linear probes on the best features alone, and on all but the best."""

    TITLE: ClassVar[str] = "Probe: how many features tell the label"
    CLAIM: ClassVar[str] = (
        "Features are ranked by Fisher's score and probes are fitted on one part of the speakers or recordings; every "
        "score is of the other. The score is balanced accuracy, of which chance is one over the number of classes; "
        "its null has the labels permuted. An SAE is credited only with what it has beyond the dense residual and a "
        "random dictionary that fires as often."
    )

    labels: tuple[str, ...]
    """Classes, in order."""
    clips: tuple[int, int]
    """Clips to rank and fit on, and clips that the scores are of."""
    groups: tuple[int, int]
    """Their speakers or recordings."""
    features: int
    """Features of the SAE."""
    seen: int
    """Those with support where features are ranked; the others have no part in anything."""
    chance: float
    """One over the number of classes."""
    curves: Curves
    """Of the SAE."""
    random_order: tuple[RandomOrder, ...]
    """The same in random orders."""
    controls: tuple[ControlCurves, ...]
    """The same of controls."""
    saturation_k: int | None
    """Smallest k whose score reaches 95 % of the full score above chance; None where that is no better than chance."""
    erased_k: int | None
    """Smallest k without which the interval includes chance; None where it never does."""
    random_erased_k: int | None
    """Smallest k without which the mean over random orders lies within the null; None where it never does."""
    ranking: tuple[int, ...]
    """Seen features, the best first."""
    examples: tuple[Moment, ...] = ()
    """Clips that the probe on all features takes for another class, the most certain first."""
    told: Told | None = None
    """Guesses of the probe on all features, clip by clip."""

    @property
    def full(self) -> ProbePoint:
        """Score on all features."""
        return self.curves.full

    @property
    def top(self) -> tuple[ProbePoint, ...]:
        """Scores on the k best alone."""
        return self.curves.top

    @property
    def unlearned(self) -> tuple[ProbePoint, ...]:
        """Scores without the k best."""
        return self.curves.unlearned

    def at(self, k: int) -> ProbePoint:
        """The score on the k best features alone. KeyError: k is not among those that were tried."""
        found = {point.k: point for point in (*self.top, self.full)}
        return found[k]

    def figures(self) -> Sequence[Figure]:
        """Full score, saturation, erasure, and controls."""
        full = self.full
        found = [Figure(f"{full.score:.3f}", f"balanced accuracy on all features{_around(full)}; {_against(full)}")]
        if self.saturation_k is None:
            found.append(Figure("none", "of the curves saturates: all features together are no better than chance"))
        else:
            says = f"features of {self.seen} reach 95 % of that above chance, {self.chance:.3f}"
            found.append(Figure(f"{self.saturation_k}", says))
        by_chance, without = ("never" if k is None else f"{k}" for k in (self.random_erased_k, self.erased_k))
        by_chance = by_chance if self.random_order else "not tried"
        found.append(Figure(without, f"features removed until the probe is at chance; in random order {by_chance}"))
        for each in self.controls:
            around = "" if each.lead_interval is None else f", 95 %: {each.lead_interval}"
            says = f"above {each.name}, which has {each.curves.full.score:.3f}{around}"
            found.append(Figure(f"{each.lead:+.3f}", says))
        return found

    def tables(self) -> Sequence[Table]:
        """The curves, the controls, and the best features."""
        names = tuple(each.name for each in self.controls)
        ks = [point.k for point in self.unlearned if point.k]
        random = {each.k: each for each in self.random_order}
        rows = []
        for k in ks:
            point = self.at(k)
            others = tuple(_score_at((*each.curves.top, each.curves.full), k) for each in self.controls)
            order = f"{random[k].top:.3f}" if k in random else ""
            rows.append((str(k), *_cells(point), *others, order, _null(point)))
        header = ("best k alone", "score", "95 %", "AUC", *names, "random order", "permuted")
        where = f"{self.clips[1]} clips of {self.groups[1]} speakers or recordings"
        first = Table("Top-k", header, tuple(rows), f"Balanced accuracy on {where}; {self.clips[0]} to fit on.")
        rows = []
        for point in self.unlearned:
            others = tuple(_score_at(each.curves.unlearned, point.k) for each in self.controls)
            order = f"{random[point.k].unlearned:.3f}" if point.k in random else ""
            rows.append((str(point.k), *_cells(point), *others, order, _null(point)))
        header = ("best k removed", *header[1:])
        unlearned = Table("Unlearning", header, tuple(rows), "The probe is fitted anew each time, on what is left.")
        ranked = ", ".join(map(str, self.ranking[:SHOWN]))
        note = f"Best features: {ranked}. {self.features - self.seen} of {self.features} features are unseen."
        lines = [("SAE", str(self.seen), *_cells(self.full), "", "")]
        for each in self.controls:
            lead = "" if each.lead_interval is None else str(each.lead_interval)
            lines.append((each.name, str(each.seen), *_cells(each.curves.full), f"{each.lead:+.3f}", lead))
        header = ("all features of", "seen", "score", "95 %", "AUC", "SAE's lead", "95 %")
        return [first, unlearned, Table("Dictionaries", header, tuple(lines), note)]

    def pictures(self) -> Sequence[Picture]:
        """Both curves, with controls, random order and chance."""
        return pictures_of(self.curves, self.controls, self.random_order, self.chance)

    def moments(self) -> Sequence[Moment]:
        """Clips that the probe takes for another class."""
        return self.examples


def _around(point: ProbePoint) -> str:
    return "" if point.interval is None else f", 95 %: {point.interval}"


def _against(point: ProbePoint) -> str:
    return f"labels permuted {_null(point)} (p {point.p:.3g})"


def _null(point: ProbePoint) -> str:
    return "" if point.null is None else str(Interval(*point.null))


def _cells(point: ProbePoint) -> tuple[str, str, str]:
    area = "" if point.auc is None else f"{point.auc:.3f}"
    return f"{point.score:.3f}", "" if point.interval is None else str(point.interval), area


def _score_at(points: Sequence[ProbePoint], k: int) -> str:
    return next((f"{point.score:.3f}" for point in points if point.k == k), "")
