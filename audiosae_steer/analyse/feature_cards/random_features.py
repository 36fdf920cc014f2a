"""Features of a random SAE that fire as often as one, measured alike: a card's sanity check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import ClipCodes
from ..frame.extra import import_extra
from .card_records import RandomCheck

Numbers = NDArray[np.float64]


def label_aucs(values: Numbers, labels: Sequence[str | None]) -> dict[str, Numbers]:
    """AUC (features,) of each label by activations (clips, features); the label's clips against all others."""
    ranked = import_extra("scipy.stats").rankdata(values, axis=0)
    names = np.array([label or "" for label in labels])
    found = {}
    for label in np.unique(names):
        own = names == label
        count, rest = int(own.sum()), int((~own).sum())
        found[str(label)] = (ranked[own].sum(0) - count * (count + 1) / 2) / max(count * rest, 1)
    return found


def concentration(codes: ClipCodes, features: NDArray[np.int64]) -> Numbers:
    """Share of a feature's firing that falls into the tenth of the clips in which it fires most (features,)."""
    fired = np.sort(codes.fired[:, features].astype(float), axis=0)[::-1]
    most = max(round(len(fired) / 10), 1)
    return np.asarray(fired[:most].sum(0) / np.maximum(fired.sum(0), 1))


def check(measure: str, value: float, others: Numbers) -> RandomCheck:
    """A measure of a feature beside that of random ones."""
    return RandomCheck(
        measure, round(value, 6), round(float(np.median(others)), 6), round(float(np.quantile(others, 0.95)), 6),
        round(float((others >= value).mean()), 6),
    )  # fmt: skip
