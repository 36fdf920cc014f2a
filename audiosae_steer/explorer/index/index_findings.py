"""Findings over all clips: neighbours, labels, and the place of each feature on a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...analyse.frame.codes import MIN_CLIPS
from ...analyse.frame.intervals import group_counts, group_rows
from ...sae.autoencoder import SAE

BLOCK = 512
"""Features whose neighbours are looked for at once."""
DRAWS = 400
"""Bootstrap draws behind an interval."""
SHARED = 2
"""Clips on which two features have to fire together to be neighbours."""
LABELS = 5
"""Labels of a feature that are kept."""
EDGE = 0.5
"""Percent of the features at each side of the map that are drawn at its edge, so that a few do not squeeze the rest."""
Fired = NDArray[np.bool_]


class Neighbours(NamedTuple):
    """Neighbours of one kind, the nearest first, as parallel arrays (n,)."""

    feature: NDArray[np.int64]
    rank: NDArray[np.int64]
    other: NDArray[np.int64]
    value: NDArray[np.float64]


class Enriched(NamedTuple):
    """A label of a feature."""

    feature: int
    rank: int
    label: str
    clips: int
    """Clips of the label."""
    fired: int
    """Those of them on which the feature fires."""
    lift: float
    """Share of the label's clips on which it fires, over that of all clips."""
    low: float
    """Lower end of the 95 % interval of the lift."""
    high: float


def by_cosine(sae: SAE, most: int) -> Neighbours:
    """Features with the highest cosine of their decoder rows with that of each feature, above 0."""
    rows = sae.W_dec.detach().float().cpu()
    unit = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    found = []
    for start in range(0, len(unit), BLOCK):
        found.append(_best(unit[start : start + BLOCK] @ unit.T, start, most))
    return _together(found)


def by_clips(fired: Fired, most: int) -> Neighbours:
    """Features that fire on the same clips: the highest Jaccard index of the clips of both, of two clips at least.

    Args:
        fired: (clips, F), the feature fires on the clip.
        most: neighbours of a feature.
    """
    # products of 0 and 1 are whole numbers, which float32 adds up exactly below 2 ** 24
    clips = torch.from_numpy(fired).float()
    counts = clips.sum(0)
    found = []
    for start in range(0, fired.shape[1], BLOCK):
        both = clips[:, start : start + BLOCK].T @ clips
        either = counts[start : start + BLOCK, None] + counts - both
        found.append(_best(torch.where(both >= SHARED, both / either.clamp(min=1), 0), start, most))
    return _together(found)


def enriched(fired: Fired, labels: Sequence[str], groups: Sequence[str], seed: int = 0) -> list[Enriched]:
    """Labels whose clips a feature fires on more often than on all clips, those with the highest lower bound first.

    The lift of a label is P(fires | label) / P(fires); its interval is by bootstrap over recordings or speakers, not
    corrected for the number of features. A feature has to fire on `MIN_CLIPS` clips of a label to have it.

    Args:
        fired: (clips, F), the feature fires on the clip.
        labels: label of each clip; empty where there is none.
        groups: recording or speaker of each clip.
        seed: seed of the bootstrap's draws.
    """
    names = sorted(set(labels) - {""})
    rows = group_rows(groups)
    if len(names) < 2 or len(rows) < 2:
        return []
    weights = group_counts(len(rows), draws=DRAWS, seed=seed)
    sizes = np.array([len(own) for own in rows], float)
    by_group = np.stack([fired[own].sum(0) for own in rows]).astype(np.float64)
    base = (weights @ by_group) / (weights @ sizes)[:, None]
    share = fired.mean(0)
    found: dict[int, list[Enriched]] = {}
    for name in names:
        own = np.array([label == name for label in labels])
        hits = fired[own].sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = hits / own.sum() / share
        chosen = np.flatnonzero((hits >= MIN_CLIPS) & (lift > 1))
        if not len(chosen):
            continue
        of_label = np.array([own[each].sum() for each in rows], float)
        its = np.stack([(fired[each][:, chosen] & own[each][:, None]).sum(0) for each in rows]).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            draws = (weights @ its) / (weights @ of_label)[:, None] / base[:, chosen]
        bounds = np.nanquantile(np.where(np.isfinite(draws), draws, np.nan), [0.025, 0.975], axis=0)
        for feature, low, high in zip(chosen.tolist(), *bounds.tolist(), strict=True):
            row = Enriched(feature, 0, name, int(own.sum()), int(hits[feature]), round(float(lift[feature]), 6),
                           round(low, 6), round(high, 6))  # fmt: skip
            found.setdefault(feature, []).append(row)
    return [
        row._replace(rank=rank)
        for _, own in sorted(found.items())
        for rank, row in enumerate(sorted(own, key=lambda row: (-row.low, row.label))[:LABELS])
    ]


def places(sae: SAE, alive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Place (F, 2) in [0, 1] of each feature that fires, by the first two principal components of the decoder rows.

    Rows are scaled to length 1. NaN of features that never fire.
    """
    found = np.full((len(alive), 2), np.nan)
    rows = sae.W_dec.detach().double().cpu().numpy()[alive]
    if not len(rows):
        return found
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    centred = rows - rows.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    at = np.zeros((len(rows), 2))
    at[:, : axes.shape[1]] = centred @ axes
    low, high = np.percentile(at, [EDGE, 100 - EDGE], axis=0)
    found[alive] = np.clip((at - low) / np.maximum(high - low, 1e-12), 0, 1).round(5)
    return found


def _best(scores: torch.Tensor, start: int, most: int) -> Neighbours:
    """The best others of a block of features, above 0, to six places; ties go to the lower number."""
    here, count = torch.arange(len(scores)), scores.shape[1]
    whole = (scores * 1e6).round().long()
    whole[here, here + start] = 0
    # one number for score and feature, so that there are no ties left for `topk` to decide
    order = (whole * count + (count - 1 - torch.arange(count))).topk(min(most, count), dim=1).values.numpy()
    value, other = order // count, count - 1 - order % count
    row, rank = np.nonzero(value > 0)
    return Neighbours(row + start, rank, other[row, rank], value[row, rank] / 1e6)


def _together(blocks: Sequence[Neighbours]) -> Neighbours:
    return Neighbours(*(np.concatenate(column) for column in zip(*blocks, strict=True)))
