"""Linear probe of the residual that tells phones frame by frame: the ceiling for names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra
from ..frame.residual_clips import Residuals
from .name_scores import macro_f1
from .phone_records import Probed

Counts = NDArray[np.int64]
PENALTY = 0.01
"""C of the regression on standardised coordinates."""


def probe_phones(
    find: tuple[Residuals, Counts], report: tuple[Residuals, Counts], phones: int, most: int, seed: int
) -> Probed:
    """Accuracy of a multinomial logistic regression on residual frames that have a phone.

    Args:
        find: clips to fit on, and the phone of each of their frames.
        report: clips to score on, likewise.
        phones: number of phones.
        most: frames to fit on, at most, drawn at random.
        seed: seed of that draw.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    linear, scaling = import_extra("sklearn.linear_model"), import_extra("sklearn.preprocessing")
    pipeline = import_extra("sklearn.pipeline")
    x, y = _frames(*find)
    if len(y) > most:
        kept = np.sort(np.random.default_rng([seed, 3]).permutation(len(y))[:most])
        x, y = x[kept], y[kept]
    there, truth = _frames(*report)
    if len(np.unique(y)) < 2:
        said = np.full(len(truth), y[0])
    else:
        model = pipeline.make_pipeline(
            scaling.StandardScaler(), linear.LogisticRegression(C=PENALTY, max_iter=100, tol=1e-3)
        )
        said = model.fit(x, y).predict(there)
    confusion = np.zeros((phones, phones + 1), np.int64)
    np.add.at(confusion, (truth, said), 1)
    return Probed(float((said == truth).mean()), macro_f1(confusion))


def _frames(residuals: Residuals, of: Counts) -> tuple[NDArray[np.float32], Counts]:
    """Frames that have a phone, and it."""
    x = np.concatenate([clip.numpy() for clip in residuals])
    return x[of >= 0], of[of >= 0]
