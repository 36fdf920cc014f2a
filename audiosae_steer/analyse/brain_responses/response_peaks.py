"""Extrema of response functions: found on one part, tested on the other, as AudioSAE does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra
from ..frame.nulls import holm
from ..frame.provenance import finite
from .response_functions import fit
from .trf_records import Peak

Numbers = NDArray[np.float64]
SUBJECTS = 5
"""Subjects from which a test is over subjects; of fewer it is over sounds."""


class Weighed(NamedTuple):
    """Weights at a feature's extrema, on the part that the numbers are of."""

    lags: tuple[float, float]
    """Seconds of the maximum and of the minimum."""
    weights: tuple[Numbers, Numbers]
    """(units,) at either."""


def extrema(weights: Numbers, lags: Numbers, window: Sequence[float]) -> tuple[int, int]:
    """Positions of the maximum and the minimum of weights (lags,) among the lags of a window in seconds."""
    within = np.flatnonzero((lags >= window[0] - 1e-9) & (lags <= window[1] + 1e-9))
    return int(within[weights[within].argmax()]), int(within[weights[within].argmin()])


def weighed(
    at: tuple[int, int], lags: Numbers, stimuli: Sequence[Numbers], responses: Sequence[Numbers], subjects: int,
    settings: tuple[float, Sequence[float], float],
) -> Weighed:  # fmt: skip
    """Weights at positions found elsewhere: of each subject over all sounds, or of each sound where subjects are few.

    Args:
        at: positions of the maximum and the minimum.
        lags: (lags,) in seconds.
        stimuli: (n, 1) of each sound.
        responses: (n, subjects · channels) of each.
        subjects: number of subjects.
        settings: rate, first and last lag, and the penalty.
    """
    rate, ends, penalty = settings
    if subjects >= SUBJECTS:
        own = fit(stimuli, responses, rate, ends, [penalty]).weights[0]
        units = own.reshape(len(own), subjects, -1).mean(2)
    else:
        fits = [
            fit([x], [y], rate, ends, [penalty]).weights[0].mean(1) for x, y in zip(stimuli, responses, strict=True)
        ]
        units = np.stack(fits, 1)
    return Weighed((float(lags[at[0]]), float(lags[at[1]])), (units[at[0]], units[at[1]]))


def peak_tests(found: Sequence[Weighed], test: str) -> list[tuple[Peak, Peak]]:
    """One-sided tests of all maxima and minima, with Holm's correction for all of them.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    p = np.array([[_p(each.weights[0], test), _p(-each.weights[1], test)] for each in found])
    adjusted = holm(p.reshape(-1)).reshape(p.shape)
    return [
        (
            Peak(
                finite(each.lags[0], 6),
                finite(each.weights[0].mean(), 6),
                finite(p[i, 0], 6),
                finite(adjusted[i, 0], 6),
            ),
            Peak(
                finite(each.lags[1], 6),
                finite(each.weights[1].mean(), 6),
                finite(p[i, 1], 6),
                finite(adjusted[i, 1], 6),
            ),
        )
        for i, each in enumerate(found)
    ]


def _p(values: Numbers, test: str) -> float:
    """One-sided p-value that the mean is above 0; 1 where nothing varies."""
    if len(values) < 2 or np.ptp(values) < 1e-15:
        return 1.0
    stats = import_extra("scipy.stats")
    if test == "signed-rank":
        return float(stats.wilcoxon(values, alternative="greater").pvalue)
    return float(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)
