"""Nearest features of one: by direction of the decoder, and by the frames on which both fire."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...sae.autoencoder import SAE
from ..frame.codes import Patterns
from .card_records import Neighbour


def neighbours_of(sae: SAE, patterns: Patterns, feature: int, most: int) -> tuple[Neighbour, ...]:
    """Features nearest to one by the cosine of their decoder rows, and then those nearest by χ.

    Args:
        sae: the SAE.
        patterns: frames on which its features fire.
        feature: the feature.
        most: number of each kind, at most.
    """
    rows = sae.W_dec.detach().float().cpu().numpy()
    norms = np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    cosine = (rows @ rows[feature]) / (norms * norms[feature])
    chi = co_firing(patterns, feature)
    others = np.delete(np.arange(len(rows)), feature)
    found = []
    for name, score in (("decoder", cosine), ("co-firing", chi)):
        for other in others[np.argsort(-score[others], kind="stable")[:most]]:
            if score[other] > 0:
                found.append(Neighbour(int(other), round(float(cosine[other]), 6), round(float(chi[other]), 6), name))
    return tuple(found)


def co_firing(patterns: Patterns, feature: int) -> NDArray[np.float64]:
    """χ (F,) of one feature and each: frames on which both fire over frames on which either does."""
    counts = np.asarray(patterns.active.sum(0)).reshape(-1).astype(float)
    both = np.asarray((patterns.active[:, [feature]].T @ patterns.active).todense()).reshape(-1)
    return np.asarray(both / np.maximum(counts + counts[feature] - both, 1))
