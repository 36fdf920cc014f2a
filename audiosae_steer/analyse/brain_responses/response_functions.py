"""Temporal response functions by ridge regression, from the package `mtrf`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame.extra import import_extra

Numbers = NDArray[np.float64]


class Fitted(NamedTuple):
    """A response function that was fitted."""

    model: Any
    """`mtrf.TRF`."""
    penalty: float

    @property
    def weights(self) -> Numbers:
        """(inputs, lags, columns)."""
        return np.asarray(self.model.weights)

    @property
    def lags(self) -> Numbers:
        """(lags,) seconds."""
        return np.asarray(self.model.times)

    def predict(self, stimuli: Sequence[Numbers]) -> list[Numbers]:
        """Responses (n, columns) to stimuli (n, inputs)."""
        return list(self.model.predict(list(stimuli)))


def fit(
    stimuli: Sequence[Numbers],
    responses: Sequence[Numbers],
    rate: float,
    lags: Sequence[float],
    penalties: Sequence[float],
) -> Fitted:
    """The response function of stimuli (n, inputs) and responses (n, columns) with the best of several penalties.

    The best is that of the highest mean correlation when one sound after the other is left out.

    Raises:
        MissingExtraError: mtrf is not installed.
    """
    model = import_extra("mtrf", "eeg").TRF(metric=correlations)
    grid = [float(each) for each in penalties]
    x, y = [np.asarray(each, float) for each in stimuli], [np.asarray(each, float) for each in responses]
    chosen = grid[0]
    if len(grid) > 1 and len(x) > 1:
        model.train(x, y, rate, lags[0], lags[1], grid, verbose=False)
        return Fitted(model, float(model.regularization))
    model.train(x, y, rate, lags[0], lags[1], chosen, verbose=False)
    return Fitted(model, chosen)


def correlations(y: Any, predicted: Any) -> Numbers:
    """Pearson's r (columns,) of two (n, columns); 0 where either is constant, of which mtrf's own makes NaN."""
    a, b = np.asarray(y) - np.mean(y, axis=0), np.asarray(predicted) - np.mean(predicted, axis=0)
    size = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    found: Numbers = np.where(size > 1e-12, (a * b).sum(0) / np.where(size > 1e-12, size, 1), 0.0)
    return found


def centred(values: Numbers) -> Numbers:
    """Columns (n, ...) less their means."""
    found: Numbers = values - values.mean(0)
    return found
