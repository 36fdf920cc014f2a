"""Parts of the data: `find`, to rank, choose and fit on, and `report`, which the numbers are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from .excerpts import Excerpts

Indices = NDArray[np.int64]
TRIES = 50
"""Draws until each label is in both parts."""
UNGROUPED = (
    "no speakers or instruments are named (column group of the labels): parts are split by recording alone, told by "
    "the names of files, so that one speaker may be in both"
)


class Parts(NamedTuple):
    """Rows of either part."""

    find: Indices
    """Rows to rank, to choose thresholds and to fit on."""
    report: Indices
    """Rows that the numbers are of; the same as `find` where there is one part only."""
    in_sample: bool
    """There is one part only, so that figures are of the clips that were fitted on."""
    warnings: tuple[str, ...] = ()
    """Sentences for the result."""


def split_parts(
    groups: Sequence[str], labels: Sequence[str | None] | None = None, *, share: float = 0.5, seed: int = 0
) -> Parts:
    """Split clips into parts that share no group; with labels, each label is in both parts.

    Args:
        groups: speaker, instrument or recording of each clip.
        labels: label of each clip, whose shares are kept alike in both parts; None: no labels.
        share: share of the groups for `find`.
        seed: seed of the draw.

    Raises:
        SteeringError: there are fewer than two groups, or a label is in one group only.
    """
    if not 0 < share < 1:
        raise SteeringError(f"the share of the part find is {share}; expected one between 0 and 1, such as 0.5")
    names, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise SteeringError(
            f"all {len(groups)} clips are of one speaker or recording, so there is no part to report on; give clips of "
            "at least two, or name them in the column group of the labels"
        )
    kinds, kind = np.unique(np.asarray([label or "" for label in labels or [""] * len(groups)]), return_inverse=True)
    table = np.zeros((len(names), len(kinds)))
    np.add.at(table, (place, kind), 1)
    alone = [str(name) for name, count in zip(kinds, (table > 0).sum(0), strict=True) if count < 2]
    if alone:
        raise SteeringError(
            f"the label {alone[0]!r} is in one speaker or recording only, so it cannot be in both parts; give clips of "
            "it by another"
        )
    chosen = _draw(table, share, seed)
    found = np.flatnonzero(chosen[place])
    return Parts(found, np.flatnonzero(~chosen[place]), False)


def parts_of(excerpts: Excerpts, *, share: float = 0.5, seed: int = 0) -> Parts:
    """Parts of excerpts: as the user gave them, or split by group.

    Where there is a single group and no labels, everything is one part, which `in_sample` and a warning say.

    Raises:
        SteeringError: a label is in one group only, or the parts that were given have a group in common.
    """
    warnings = () if excerpts.grouped else (UNGROUPED,)
    if excerpts.report is not None:
        flags = np.array(excerpts.report)
        names = np.array(excerpts.groups)
        both = sorted(set(names[flags]) & set(names[~flags]))
        if both:
            raise SteeringError(f"{str(both[0])!r} is in both parts ({len(both)} such groups); take it out of one")
        return Parts(np.flatnonzero(~flags), np.flatnonzero(flags), False, warnings)
    labelled = any(label is not None for label in excerpts.labels)
    if len(set(excerpts.groups)) < 2 and not labelled:
        return one_part(len(excerpts))
    parts = split_parts(excerpts.groups, excerpts.labels if labelled else None, share=share, seed=seed)
    return parts._replace(warnings=warnings)


def one_part(clips: int) -> Parts:
    """All clips as the one part that there is."""
    every = np.arange(clips)
    words = "there is one part only: figures are of the clips that were chosen and fitted on (in_sample)"
    return Parts(every, every, True, (words,))


def _draw(table: NDArray[np.float64], share: float, seed: int) -> NDArray[np.bool_]:
    """Groups (groups,) of `find`: of several draws the one that keeps the labels' shares best, each label on both
    sides."""
    rng = np.random.default_rng(seed)
    count = min(max(round(share * len(table)), 1), len(table) - 1)
    best, least = np.zeros(len(table), bool), np.inf
    for _ in range(TRIES):
        chosen = np.zeros(len(table), bool)
        chosen[rng.permutation(len(table))[:count]] = True
        missing = (table[chosen].sum(0) == 0).sum() + (table[~chosen].sum(0) == 0).sum()
        off = np.abs(table[chosen].sum(0) / table.sum(0) - share).max() + 10.0 * missing
        if off < least:
            best, least = chosen, off
    if least >= 10:
        best = _covering(table)
    return best


def _covering(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Groups of `find` so that each label is on both sides, found label by label, the rarest first.

    Raises:
        SteeringError: there are none.
    """
    side = np.zeros(len(table), int)
    for kind in np.argsort((table > 0).sum(0), kind="stable"):
        own = np.flatnonzero(table[:, kind])
        for wanted in (1, -1):
            free = own[side[own] == 0]
            if not (side[own] == wanted).any():
                if not len(free):
                    raise SteeringError(
                        "these speakers or recordings cannot be split so that each label is in both parts; give more "
                        "of them, or say which clips are to report on"
                    )
                side[free[0]] = wanted
    result: NDArray[np.bool_] = side >= 0 if (side < 0).any() else side > 0
    return result
