"""Names of features: the phone that fills most of their frames, if it does more so than chance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import Patterns
from ..frame.extra import import_extra
from ..frame.nulls import shifted_rows
from .frame_phones import SILENT, FramePhones
from .phone_records import BoundaryFeature, PhoneSettings

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]
BORDER_RATIO = 2.0
"""Density at borders over that elsewhere from which on a feature is one of borders."""


class Names(NamedTuple):
    """Named features, in order of their number."""

    features: Counts
    phones: Counts
    """Number of the phone of each."""
    purity: Numbers
    lift: Numbers
    frames: Counts
    seen: Counts
    """All features with support, named or not."""


def phone_counts(active: Any, of: Counts, phones: int) -> Counts:
    """Frames (F, phones) on which each feature fires and each phone is.

    Args:
        active: scipy CSR (frames, F).
        of: (frames,) number of the phone; below 0: none.
        phones: number of phones.
    """
    sparse = import_extra("scipy.sparse")
    rows = np.flatnonzero(of >= 0)
    one_hot = sparse.csr_matrix((np.ones(len(rows), np.int64), (of[rows], rows)), shape=(phones, len(of)))
    return np.asarray((one_hot @ active.astype(np.int64)).todense()).T


def name_features(patterns: Patterns, phones: FramePhones, of: Counts, settings: PhoneSettings) -> Names:
    """Features of patterns that one phone names: purity and lift above their bounds, with enough support.

    Purity and the phone's own share are of all aligned frames, those of silence among them.

    Args:
        patterns: frames of `find`.
        phones: the phones.
        of: (frames,) phone of each of these frames.
        settings: bounds and support.
    """
    counts = phone_counts(patterns.active, of, len(phones.names))
    aligned = of >= SILENT
    there = patterns.active[np.flatnonzero(aligned)]
    frames = np.asarray(there.sum(0)).reshape(-1).astype(np.int64)
    share = np.bincount(of[of >= 0], minlength=len(phones.names)) / max(int(aligned.sum()), 1)
    clips = patterns.seen().clips
    seen = (frames >= settings.min_frames) & (clips >= settings.min_clips)
    best = counts.argmax(1)
    purity = counts.max(1) / np.maximum(frames, 1)
    lift = purity / np.maximum(share[best], 1e-12)
    own = np.flatnonzero(seen & (purity > settings.least_purity) & (lift >= settings.least_lift))
    return Names(own, best[own], purity[own], lift[own], frames[own], np.flatnonzero(seen))


def named_by_chance(patterns: Patterns, phones: FramePhones, of: Counts, settings: PhoneSettings) -> float:
    """Number of features that get a name if the phones are shifted by at least 1 s within each clip, on average."""
    rng = np.random.default_rng([settings.seed, 1])
    found = []
    for _ in range(settings.shifts):
        rows, _ = shifted_rows(patterns.starts, patterns.rate, rng)
        found.append(len(name_features(patterns, phones, of[rows], settings).features))
    return float(np.mean(found)) if found else float("nan")


def boundary_features(
    find: Patterns, report: Patterns, borders: tuple[NDArray[np.bool_], NDArray[np.bool_]], seen: Counts
) -> list[BoundaryFeature]:
    """Features that fire at borders more than elsewhere on `find`, the highest ratio first, with that on `report`.

    Args:
        find: frames to choose on.
        report: frames to report on.
        borders: frames at a border, of either.
        seen: features with support.
    """
    ratio = _border_ratio(find, borders[0])
    again = _border_ratio(report, borders[1])
    chosen = [int(i) for i in seen[np.argsort(-ratio[seen], kind="stable")] if ratio[i] >= BORDER_RATIO]
    return [BoundaryFeature(i, float(ratio[i]), float(again[i]) if np.isfinite(again[i]) else None) for i in chosen]


def _border_ratio(patterns: Patterns, border: NDArray[np.bool_]) -> Numbers:
    """Density at borders over that elsewhere (F,); NaN where it fires nowhere. Jeffreys' prior keeps it finite."""
    fired = np.asarray(patterns.active.sum(0)).reshape(-1).astype(float)
    near = np.asarray(patterns.active[np.flatnonzero(border)].sum(0)).reshape(-1).astype(float)
    frames, at = len(border), int(border.sum())
    ratio = ((near + 0.5) / (at + 1)) / ((fired - near + 0.5) / (frames - at + 1))
    return np.where(fired > 0, ratio, np.nan)
