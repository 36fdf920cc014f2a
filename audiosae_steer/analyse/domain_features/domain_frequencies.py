"""Frequencies of features by domain, over clips cut to equal length, and the rules that assign features by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...io.progress import Tell
from ..frame.codes import Dictionary, Seen, fires
from ..frame.residual_clips import Residuals, check_fits
from .domain_records import Rule

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
SLACK = 1e-9
"""Difference that is rounding: frequencies that differ by a bound exactly reach it."""


class Frequencies(NamedTuple):
    """Frequencies (domains, F) at either level."""

    frame: Numbers
    clip: Numbers
    frame_log: Numbers
    """log2 of (k + 1/2) / (n + 1), Jeffreys' estimate of the frequency of k of n frames."""
    clip_log: Numbers

    def compared(self, rule: Rule) -> Numbers:
        """Frequencies, or their logarithms, that a rule compares."""
        if rule.kind == "difference":
            return self.frame if rule.level == "frame" else self.clip
        return self.frame_log if rule.level == "frame" else self.clip_log


@dataclass(frozen=True)
class Tally:
    """Frames and pieces of each clip on which features fire; all pieces are of one length."""

    frames: Numbers
    """(clips, F) frames on which each fires."""
    pieces: Numbers
    """(clips, F) pieces in which it does."""
    count: Numbers
    """(clips,) pieces."""
    length: int
    """Frames of a piece."""
    strength: Numbers
    """(F,) mean activation over the frames on which a feature fires; 0 of one that never does."""
    busiest: Indices
    """(clips, F) piece of each clip in which a feature fires on most frames."""

    def seen(self, rows: Any = slice(None)) -> Seen:
        """Support of the features in some of the clips."""
        frames = self.frames[rows]
        return Seen(frames.sum(0).astype(np.int64), (frames > 0).sum(0).astype(np.int64))

    def of(self, features: Any) -> Tally:
        """The tally of some of the features."""
        return replace(
            self,
            frames=self.frames[:, features],
            pieces=self.pieces[:, features],
            strength=self.strength[features],
            busiest=self.busiest[:, features],
        )

    def pick(self, rows: Any) -> Tally:
        """The tally of some of the clips; the strength stays that of all."""
        return replace(
            self,
            frames=self.frames[rows],
            pieces=self.pieces[rows],
            count=self.count[rows],
            busiest=self.busiest[rows],
        )

    def frequencies(self, weights: Numbers) -> Frequencies:
        """Frequencies by domain.

        Args:
            weights: (domains, clips), the number of times that a clip counts in a domain. A domain without clips has
                NaN.
        """
        pieces = (weights @ self.count)[:, None]
        frames = pieces * self.length
        fired, fired_pieces = weights @ self.frames, weights @ self.pieces
        with np.errstate(invalid="ignore", divide="ignore"):
            return Frequencies(
                fired / frames,
                fired_pieces / pieces,
                np.where(frames > 0, np.log2((fired + 0.5) / (frames + 1)), np.nan),
                np.where(pieces > 0, np.log2((fired_pieces + 0.5) / (pieces + 1)), np.nan),
            )


def tally(
    residuals: Residuals, dictionary: Dictionary, length: int, *, what: str, progress: Tell | None = None
) -> Tally:
    """Count the frames and pieces on which features fire, clips cut into pieces of `length` frames, the rest left out.

    Args:
        residuals: clips of at least so many frames.
        dictionary: SAE, or a control of it.
        length: frames of a piece.
        what: the work's name, for progress.
        progress: called with that, how many clips are done, and how many there are.

    Raises:
        SiteError: the dictionary reads residuals of another width.
    """
    check_fits(dictionary, residuals)
    shape = (len(residuals), dictionary.n_features)
    frames, pieces, busiest = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
    sums = np.zeros(shape[1])
    for row, x in enumerate(residuals):
        if progress is not None:
            progress(what, row, len(residuals))
        with torch.no_grad():
            f = dictionary.encode(x).float()
        kept = len(x) // length * length
        f = f[:kept]
        active = fires(dictionary, f)
        per_piece = active.reshape(-1, length, shape[1]).sum(1).numpy()
        sums += (f * active).sum(0, dtype=torch.float64).numpy()
        frames[row], pieces[row], busiest[row] = per_piece.sum(0), (per_piece > 0).sum(0), per_piece.argmax(0)
    if progress is not None:
        progress(what, len(residuals), len(residuals))
    strength = sums / np.maximum(frames.sum(0), 1)
    return Tally(frames, pieces, (residuals.frames // length).astype(float), length, strength, busiest)


def weights_of(place: NDArray[np.int64], domains: int) -> Numbers:
    """Weights (domains, clips): 1 where a clip, of the domain at `place`, belongs."""
    return np.asarray(place[None] == np.arange(domains)[:, None], float)


def assigned(frequencies: Frequencies, rule: Rule, subset: Sequence[int] | None = None) -> Indices:
    """Domain (F,) that each feature is assigned to; −1: none.

    A feature belongs to the domain of the highest frequency if that is above every other by at least the bound.

    Args:
        frequencies: see `Tally.frequencies`.
        rule: level, comparison and bound.
        subset: domains to compare; None: all.
    """
    chosen = np.arange(len(frequencies.frame)) if subset is None else np.asarray(subset)
    values = frequencies.compared(rule)[chosen]
    ranked = np.sort(values, axis=0)
    enough = ranked[-1] - ranked[-2] >= rule.margin - SLACK  # NaN, of a domain without clips, is not
    return np.where(enough, chosen[values.argmax(0)], -1)


def ahead(frequencies: Frequencies, rule: Rule) -> Numbers:
    """Lead (F,) of each feature's first domain over the next, in the rule's unit."""
    ranked = np.sort(frequencies.compared(rule), axis=0)
    return np.asarray(ranked[-1] - ranked[-2])


def counts(place: Indices, domains: int) -> Indices:
    """Number of features (domains,) that each domain has."""
    return np.bincount(place[place >= 0], minlength=domains)
