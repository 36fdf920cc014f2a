"""Domains of an SAE's features: how many fire mostly in speech, in music, or in other sounds.

AudioSAE (arXiv 2602.05027), section on domains: a feature is assigned to the domain in which it is active most often,
if that frequency is above every other domain's by τ. Beside that: clips of equal length, a null by permuted domains,
other clips, sources left out, and controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from .domain_pictures import pictures_of
from .domain_records import Assigned, Confirmed, ControlDomains, DomainFacts, Level, Survival

LISTED = 5
"""Features of each domain in the table."""


@dataclass(frozen=True, kw_only=True)
class Domains(Outcome):
    """Features of an SAE by the domain of sound in which they fire most often."""

    TITLE: ClassVar[str] = "Domains: features of speech, of music, of other sounds"
    CLAIM: ClassVar[str] = (
        "A feature is assigned to the domain in which it fires most often, if it does so by a bound more than in every "
        "other. Clips are cut to equal length. Beside each number stands that with the clips' domains permuted "
        "among recordings; what counts is the excess over it, and over the controls. Domains of different corpora "
        "differ in loudness and bandwidth as well: where a domain has several sources, each is left out in turn."
    )

    domains: tuple[DomainFacts, ...]
    """The domains, by name, and their data."""
    piece_frames: int
    """Frames of the pieces of equal length that clips are cut into."""
    piece_seconds: float | None
    """Their length in seconds; None where frames have no time."""
    features: int
    """Features of the SAE."""
    seen: int
    """Features with enough support."""
    dead: int
    """Features that never fire on these clips."""
    assigned: tuple[Assigned, ...]
    """Numbers by rule: of all domains, then of pairs and triples of them."""
    confirmed: tuple[Confirmed, ...]
    """Assignments tried on other clips, by rule; empty where there are no parts."""
    survivals: tuple[Survival, ...]
    """Assignments without one source, for domains of several."""
    controls: tuple[ControlDomains, ...]
    """Controls in the SAE's place."""
    frame_frequency: tuple[tuple[float, ...] | None, ...]
    """(F,) share of frames, by domain, on which each feature fires; None if unseen."""
    clip_frequency: tuple[tuple[float, ...] | None, ...]
    """(F,) share of pieces, by domain, in which it fires at all."""
    frame_log_ratio: tuple[float | None, ...]
    """(F,) log2 of the highest frame frequency over the next, with Jeffreys' prior."""
    clip_log_ratio: tuple[float | None, ...]
    """(F,) the same of pieces."""
    strength: tuple[float | None, ...]
    """(F,) mean activation over the frames on which it fires."""
    examples: tuple[Moment, ...] = ()
    """Stretches on which leading features fire."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the domains, in the order of the frequencies."""
        return tuple(domain.name for domain in self.domains)

    @property
    def compared(self) -> tuple[Assigned, ...]:
        """Numbers of all domains against each other, by rule."""
        return tuple(each for each in self.assigned if each.domains == self.names)

    def leading(self, domain: str, level: Level = "frame", tau: float = 0.0) -> tuple[int, ...]:
        """Features of a domain, those first that lead by most over the next domain.

        Args:
            domain: its name.
            level: frequency over frames, or over clips.
            tau: least difference to every other domain.
        """
        at = self.names.index(domain)
        found = []
        for feature, values in enumerate(self.frame_frequency if level == "frame" else self.clip_frequency):
            if values is None:
                continue
            lead = values[at] - max(value for i, value in enumerate(values) if i != at)
            if lead > 0 and lead >= tau - 1e-9:
                found.append((-lead, feature))
        return tuple(feature for _, feature in sorted(found))

    def figures(self) -> Sequence[Figure]:
        """Numbers assigned beside their null, and what is confirmed on other clips."""
        found = [
            Figure(
                f"{each.total}",
                f"of {self.seen} features are of one domain ({each.rule}){_around(each)}; with domains permuted "
                f"{each.null_total:.1f} (p {each.p:.3g})",
            )
            for each in self.compared
            if each.rule.kind == "difference"
        ]
        for each in self.confirmed:
            if each.rule.kind == "difference" and each.assigned:
                null = _share(each.null, each.assigned)
                says = f"of {each.assigned} assignments are the same on other clips ({each.rule}); permuted {null}"
                found.append(Figure(_share(each.confirmed, each.assigned), says))
        words = f"of {self.features} features have too little support to be judged; {self.dead} never fire"
        return [*found, Figure(f"{self.features - self.seen}", words)]

    def tables(self) -> Sequence[Table]:
        """Numbers by rule, the controls, other clips, sources, subsets, and the leading features."""
        shown = [self._numbers(), self._controls(), self._confirmed(), self._survivals(), self._subsets()]
        return [each for each in (*shown, self._leading()) if each.rows]

    def _numbers(self) -> Table:
        told = "; ".join(
            f"{each.name}: {each.clips} clips of {each.groups} recordings, {each.pieces} pieces"
            for each in self.domains
        )
        length = f"{self.piece_seconds:g} s" if self.piece_seconds is not None else f"{self.piece_frames} frames"
        sae = self.provenance.saes[0]
        note = (
            f"{told}, of {length} each. {sae.gate}, {sae.n_features} features, {sae.l0 or 0:.1f} on a frame, "
            f"{(sae.sha256 or '')[:8]}; {self.seen} have support. In parentheses: with the clips' domains permuted."
        )
        rows = tuple(
            (
                str(each.rule),
                *(f"{n} ({null:.1f})" for n, null in zip(each.features, each.null, strict=True)),
                str(each.total),
                f"{each.null_total:.1f} ± {each.null_spread:.1f}",
                f"{each.p:.3g}",
                "" if each.interval is None else f"{each.interval.low:.0f} to {each.interval.high:.0f}",
            )
            for each in self.compared
        )
        return Table("Features by domain", ("", *self.names, "all", "null", "p", "95 %"), rows, note)

    def _controls(self) -> Table:
        header = ("", "SAE", *(each.name for each in self.controls))
        rows = []
        for number, each in enumerate(self.compared if self.controls else ()):
            cells = [control.assigned[number] for control in self.controls]
            rows.append((str(each.rule), *(f"{cell.total} ({cell.null_total:.1f})" for cell in (each, *cells))))
        if rows:
            rows.append(
                ("with support", str(self.seen), *(f"{each.seen} of {each.features}" for each in self.controls))
            )
        return Table("Controls", header, tuple(rows), "Features of any domain, and in parentheses their null.")

    def _confirmed(self) -> Table:
        rows = tuple(
            (str(each.rule), str(each.assigned), str(each.confirmed), f"{each.null:.1f}") for each in self.confirmed
        )
        note = "Assigned on one part of the recordings, and by the same rule on the other."
        return Table("On other clips", ("", "assigned", "same domain again", "null"), rows, note)

    def _survivals(self) -> Table:
        rows = tuple(
            (
                f"{each.domain}, {each.rule}",
                str(each.assigned),
                str(each.survive),
                f"{each.null:.1f}",
                ", ".join(f"{source} {count}" for source, count in sorted(each.kept, key=lambda kept: kept[1])[:3]),
            )
            for each in self.survivals
        )
        note = (
            "Features that stay the domain's whichever of its sources is left out; null: sources permuted among its "
            "recordings. Last column: what is left without a source, the three that take most."
        )
        return Table("Without one source", ("", "assigned", "stay", "null", "without"), rows, note)

    def _subsets(self) -> Table:
        rows = tuple(
            (
                f"{each.rule}",
                ", ".join(f"{name} {n}" for name, n in zip(each.domains, each.features, strict=True)),
                str(each.total),
                f"{each.null_total:.1f}",
                f"{each.p:.3g}",
            )
            for each in self.assigned
            if each.domains != self.names
        )
        return Table("Pairs and triples", ("", "features", "all", "null", "p"), rows)

    def _leading(self) -> Table:
        rows = []
        for name in self.names:
            for feature in self.leading(name)[:LISTED]:
                values = self.frame_frequency[feature] or ()
                ratio = self.frame_log_ratio[feature]
                cells = (*(f"{100 * value:.1f}" for value in values), "" if ratio is None else f"{ratio:+.1f}")
                rows.append((f"{name}: {feature}", *cells))
        header = ("", *(f"% of {name}" for name in self.names), "log2 ratio")
        return Table("Features that lead most", header, tuple(rows), "Share of frames on which each fires.")

    def pictures(self) -> Sequence[Picture]:
        """Numbers beside their null and controls, and frequency against strength."""
        points = [
            (values.index(max(values)), max(values), strength)
            for values, strength in zip(self.frame_frequency, self.strength, strict=True)
            if values is not None and strength is not None
        ]
        return pictures_of(self.compared, self.controls, points, self.names)

    def moments(self) -> Sequence[Moment]:
        """Stretches on which leading features fire."""
        return self.examples


def _around(each: Assigned) -> str:
    return "" if each.interval is None else f", 95 %: {each.interval.low:.0f} to {each.interval.high:.0f}"


def _share(part: float, whole: int) -> str:
    return f"{part / whole:.0%}"
