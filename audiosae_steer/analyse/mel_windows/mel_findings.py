"""Spectrograms around the peaks of features.

AudioSAE (arXiv 2602.05027) averages 1-s log-mel windows centred at active frames. Here they are centred at peaks that
are kept apart, padding is left out, and the mean stands beside that of windows at random frames of the same clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..frame.outcome import Outcome
from ..frame.presented import Figure, Moment, Picture, Table
from .mel_pictures import pictures_of_patterns
from .mel_records import MelPattern

HEARD = (
    "A frame of a transformer has heard the whole clip: a pattern is what sounds when the feature fires, not what it "
    "reads."
)


@dataclass(frozen=True, kw_only=True)
class MelPatterns(Outcome):
    """Mel patterns of some features of an SAE."""

    TITLE: ClassVar[str] = "Mel patterns: the sound around the peaks of features"
    CLAIM: ClassVar[str] = (
        "The mean log-mel spectrogram around the peaks of a feature's activation, minus that of windows at random "
        "frames of the same clips, in units of the latter's spread. " + HEARD
    )

    patterns: tuple[MelPattern, ...]
    """Patterns of the SAE's features."""
    controls: tuple[MelPattern, ...]
    """Patterns of the controls' features of the same numbers."""
    without: tuple[int, ...]
    """Features that have too few peaks for a pattern."""
    seconds: float
    """Length of a window."""
    examples: tuple[Moment, ...] = ()
    """Windows around the highest peaks."""

    def of(self, feature: int) -> MelPattern:
        """The pattern of a feature of the SAE. KeyError: it has none."""
        return {each.feature: each for each in self.patterns}[feature]

    def figures(self) -> Sequence[Figure]:
        """Number of patterns beyond chance, and the side that the energy is on."""
        clear = sum(each.p < 0.05 for each in self.patterns)
        others = sum(each.p < 0.05 for each in self.controls)
        sides = [each.side for each in self.patterns]
        return [
            Figure(
                f"{clear} of {len(self.patterns)}",
                f"features have a pattern beyond random windows (p < 0.05); controls: {others} of {len(self.controls)}",
            ),
            Figure(f"{sides.count('after')}", "have their energy after the peak"),
            Figure(f"{sides.count('before')}", "have it before the peak"),
        ]

    def tables(self) -> Sequence[Table]:
        """The patterns in numbers."""
        return [table_of((*self.patterns, *self.controls))]

    def pictures(self) -> Sequence[Picture]:
        """A picture of each pattern."""
        return pictures_of_patterns(self.patterns, self.seconds)

    def moments(self) -> Sequence[Moment]:
        """Windows around the highest peaks."""
        return self.examples


def table_of(patterns: Sequence[MelPattern]) -> Table:
    """Patterns in numbers."""
    rows = tuple(
        (
            f"{each.feature}" + ("" if each.dictionary == "SAE" else f" of {each.dictionary}"),
            f"{each.windows} of {each.clips}",
            f"{each.beyond:.3f}",
            f"{each.beyond_null:.4f}",
            f"{each.p:.3g}",
            f"{each.peak_ms:+.0f} ms, {each.peak_hz:.0f} Hz",
            f"{each.asymmetry:+.3f}",
            "" if each.asymmetry_null is None else str(each.asymmetry_null),
            each.side,
        )
        for each in patterns
    )
    header = ("", "windows of clips", "cells beyond", "random", "p", "largest at", "asymmetry", "random", "energy")
    note = (
        "Cells beyond: share of cells further from random windows than 3.29 deviations. Asymmetry: energy after the "
        "peak against before it. " + HEARD
    )
    return Table("Mel patterns", header, rows, note)
