"""Scores of names on other frames: any match, the vote, and both with the names shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra
from ..frame.intervals import group_counts, group_rows, interval_of
from ..frame.nulls import p_value
from .phone_records import NameScores, PhoneSettings

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


class Scored(NamedTuple):
    """Scores of names, and the confusions of the vote."""

    scores: NameScores
    confusion: Counts
    """(phones, phones + 1) frames by phone and vote; the last column has those without a vote."""


def score_names(
    active: Any,
    named: tuple[Counts, Numbers],
    truth: Counts,
    phones: int,
    groups: Sequence[str],
    settings: PhoneSettings,
) -> Scored:
    """Scores of named features on frames that have a phone.

    Args:
        active: scipy CSR (frames, named features).
        named: (named features,) number of each one's phone, and its lift, whose logarithms the vote adds.
        truth: (frames,) phone of each frame, from 0 on.
        phones: number of phones.
        groups: group of each frame.
        settings: permutations, draws and seed.
    """
    names, lift = named
    weight = np.log(np.maximum(lift, 1 + 1e-9))
    row = np.repeat(np.arange(len(truth)), np.diff(active.indptr))
    hit, voted = _any(row, active.indices, names, truth), _votes(active, names, weight, phones)
    rng = np.random.default_rng([settings.seed, 2])
    null_hits, null_votes, shuffled = np.zeros(len(truth)), [], []
    for _ in range(settings.permutations):
        order = rng.permutation(len(names))
        other = _any(row, active.indices, names[order], truth)
        null_hits += other
        shuffled.append(other.mean())
        null_votes.append((_votes(active, names[order], weight[order], phones) == truth).mean())
    null_hits /= max(settings.permutations, 1)
    confusion = np.zeros((phones, phones + 1), np.int64)
    np.add.at(confusion, (truth, voted), 1)
    right = voted == truth
    excess, accuracy = _intervals(np.stack([hit - null_hits, right], 1).astype(float), groups, settings)
    scores = NameScores(
        any_match=float(hit.mean()), any_null=float(np.mean(shuffled)),
        any_null_high=float(np.quantile(shuffled, 0.975)), p=float(p_value(hit.mean(), shuffled)),
        excess=float(hit.mean() - np.mean(shuffled)), excess_interval=excess, vote=float(right.mean()),
        vote_interval=accuracy, vote_null=float(np.mean(null_votes)), macro_f1=macro_f1(confusion),
        voted=float((voted < phones).mean()), active=float(active.nnz / len(truth)),
    )  # fmt: skip
    return Scored(scores, confusion)


def macro_f1(confusion: Counts) -> float:
    """Mean F1 over the phones that there are."""
    right = np.diag(confusion).astype(float)
    total = confusion.sum(1)
    said = confusion[:, : len(confusion)].sum(0)
    return float((2 * right / np.maximum(total + said, 1))[total > 0].mean())


def _any(row: Counts, feature: Counts, names: Counts, truth: Counts) -> NDArray[np.bool_]:
    """Frames on which any active feature has the right name."""
    hit: NDArray[np.bool_] = np.bincount(row, names[feature] == truth[row], len(truth)) > 0
    return hit


def _votes(active: Any, names: Counts, weight: Numbers, phones: int) -> Counts:
    """Phone (frames,) with the largest sum of weights of active features; `phones` where none is active."""
    sparse = import_extra("scipy.sparse")
    by_phone = sparse.csr_matrix((weight, (np.arange(len(names)), names)), shape=(len(names), phones))
    sums = np.asarray((active.astype(float) @ by_phone).todense())
    return np.where(np.diff(active.indptr) > 0, sums.argmax(1), phones)


def _intervals(values: Numbers, groups: Sequence[str], settings: PhoneSettings) -> Any:
    """Intervals of the means of values (frames, n), whole groups drawn with replacement."""
    rows = group_rows(groups)
    if len(rows) < 2 or not settings.draws:
        return [None] * values.shape[1]
    sums = np.stack([values[own].sum(0) for own in rows])
    drawn = group_counts(len(rows), draws=settings.draws, seed=settings.seed)
    means = (drawn @ sums) / (drawn @ np.array([len(own) for own in rows], float))[:, None]
    return [interval_of(column) for column in means.T]
