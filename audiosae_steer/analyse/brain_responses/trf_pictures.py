"""Pictures of features beside responses of the brain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .trf_records import FeatureResponse

SEEN, NULL = "#1f5fa8", "#c9ced6"
SHOWN = 5
"""Response functions in the picture."""


def pictures_of(
    features: Sequence[FeatureResponse], lags: Sequence[float], sound: Sequence[Sequence[float]], level: float
) -> list[Picture]:
    """Gains beside the range of their shifts, and response functions of the features of the clearest gain."""
    return [
        Picture(
            "Gain over envelope and onsets",
            "Points: gain in r of each feature, in order, with the range of its shifts; filled where it counts",
            lambda figure: _gains(features, level, figure),
            height=3.0,
        ),
        Picture(
            "Response functions",
            "Lines: weights over the lag of the response behind the sound, of the features of the clearest gain and of "
            "the envelope, each scaled to its largest weight",
            lambda figure: _functions(features, lags, sound, figure),
            height=3.0,
        ),
    ]


def _gains(features: Sequence[FeatureResponse], level: float, figure: Any) -> None:
    axis = figure.subplots()
    ordered = sorted((each.gain for each in features), key=lambda gain: gain.value)
    places = np.arange(len(ordered))
    axis.vlines(
        places, [each.null for each in ordered], [each.null_high for each in ordered], color=NULL, linewidth=2,
        label="shifts, mean to 97.5 %",
    )  # fmt: skip
    kept = np.array([each.q < level for each in ordered])
    values = np.array([each.value for each in ordered])
    axis.plot(places[~kept], values[~kept], "o", color=SEEN, mfc="white", markersize=3.5, label="gain")
    axis.plot(places[kept], values[kept], "o", color=SEEN, markersize=3.5, label=f"q < {level:g}")
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xlabel("features, in the order of their gain")
    axis.set_ylabel("gain in r")
    axis.grid(axis="y", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.legend(frameon=False, fontsize=8)


def _functions(
    features: Sequence[FeatureResponse], lags: Sequence[float], sound: Sequence[Sequence[float]], figure: Any
) -> None:
    axis = figure.subplots()
    best = sorted(features, key=lambda each: (each.gain.p, -each.gain.value))[:SHOWN]
    for each in best:
        axis.plot(lags, _scaled(each.weights), linewidth=1.2, label=f"feature {each.feature}")
    axis.plot(lags, _scaled(sound[0]), color=MUTED, linewidth=1.6, linestyle="--", label="envelope")
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_xlabel("lag of the response, s")
    axis.set_ylabel("weight")
    axis.grid(color=GRID, linewidth=0.8)
    axis.legend(frameon=False, fontsize=8)


def _scaled(weights: Sequence[float]) -> Any:
    values = np.array(weights)
    return values / max(np.abs(values).max(), 1e-12)
