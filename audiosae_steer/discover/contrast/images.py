"""Pictures of a discovery report, as base64 PNG."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluate.drawing import MUTED, base64_of, new_figure, png_of
from .results import ContrastResult

WITH, WITHOUT = "#b3471e", "#1f5fa8"


def of_scores(found: ContrastResult) -> str:
    """Scores of the probe on held-out clips of both kinds: histograms, and every clip as a tick below."""
    figure = _figure(5.4, _tall(found))
    axis, rug = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [6, 1]})
    labels = found.rows.labels[found.rows.held]
    edges = np.linspace(*_span(found.scores), 25)
    for kind, colour, name, at in ((True, WITH, "with", 1), (False, WITHOUT, "without", 0)):
        own = found.scores[labels == kind]
        axis.hist(own, edges, color=colour, alpha=0.55, label=f"{name} the concept ({len(own)})")
        rug.plot(own, np.full(len(own), at), "|", color=colour, markersize=10)
    for part in (axis, rug):
        part.axvline(0, color=MUTED, linewidth=1, linestyle=":")
    rug.set_ylim(-0.7, 1.7)
    rug.set_yticks([0, 1], ["without", "with"])
    rug.set_xlabel("log odds of the probe")
    axis.set_ylabel("held-out clips")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_title(
        f"AUC {found.probe.auc:.3f} [{found.probe.low:.3f}, {found.probe.high:.3f}]", fontsize=11, loc="left"
    )
    axis.legend(frameon=False, fontsize=9)
    return _png(figure)


def of_stability(found: ContrastResult) -> str:
    """Stability of the top features, as bars in the order of the table."""
    count = len(found.features)
    figure = _figure(5.4, _tall(found))
    axis = figure.subplots()
    colours = [WITH if feature.weight > 0 else WITHOUT for feature in found.features]
    axis.barh(range(count), [feature.stability for feature in found.features], color=colours, height=0.72)
    names = [str(feature.number) for feature in found.features]
    axis.set_yticks(range(count), names, fontsize=9 if count <= 25 else 6)
    axis.set_ylim(count - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda share, at: f"{share:.0%}")
    axis.grid(axis="x", color="#e3e7ec", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_ylabel("feature")
    axis.set_title(f"again among the top {count}, of {found.settings.resamples} resamples", fontsize=11, loc="left")
    return _png(figure)


def _tall(found: ContrastResult) -> float:
    """Height of the two pictures side by side, in inches: bars have to stay apart."""
    return min(max(3.5, 0.8 + 0.17 * len(found.features)), 12.0)


def _span(scores: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(scores.min()), float(scores.max())
    return (low, high) if high > low else (low - 1, high + 1)


def _figure(width: float, height: float) -> Any:
    return new_figure(width, height, extra="train")


def _png(figure: Any) -> str:
    return base64_of(png_of(figure))
