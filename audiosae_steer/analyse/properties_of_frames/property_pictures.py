"""Pictures of property maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from .mapped_property import MappedProperty
from .property_bins import UNITS

COLOURS = {"SAE": "#1f5fa8", "dense": "#8a94a3", "random": "#c9ced6", "permuted": "#e0c9a6"}


def pictures_of(properties: Sequence[MappedProperty]) -> list[Picture]:
    """Accuracies beside baselines and nulls, and the weights of each property's classes."""
    names = ", ".join(each.bins.name for each in properties)
    bars = Picture(
        "Accuracy by property",
        f"Bars: accuracy on held-out frames for {names}, from the SAE's features and from controls; marks show the "
        "commonest class, permuted clips and the frame before. The table has the numbers",
        lambda figure: _bars(properties, figure),
        height=3.4,
    )
    weights = Picture(
        "Features that weigh most",
        f"Heat maps: weights times spread of the forty features that weigh most, for each class of {names}",
        lambda figure: _weights(properties, figure),
        height=2.6 * len(properties),
    )
    return [bars, weights]


def _bars(properties: Sequence[MappedProperty], figure: Any) -> None:
    axis = figure.subplots()
    count = max(len(each.scores) for each in properties)
    width = 0.76 / count
    for at, own in enumerate(properties):
        for number, score in enumerate(own.scores):
            place = at - 0.38 + width * (number + 0.5)
            axis.bar(
                place, score.accuracy, width * 0.92, color=COLOURS.get(score.name, MUTED),
                label=score.name if at == 0 else None,
            )  # fmt: skip
            if score.interval is not None:
                axis.plot([place, place], score.interval, color=INK, linewidth=1.3)
        for level, style, name in (
            (own.majority, "-", "commonest class"), (own.scores[0].null.high, ":", "permuted clips, 97.5 %"),
            (own.persistence, "--", "frame before"),
        ):  # fmt: skip
            axis.plot([at - 0.42, at + 0.42], [level, level], style, color="#b3471e", linewidth=1.2,
                      label=name if at == 0 else None)  # fmt: skip
    axis.set_xticks(range(len(properties)), [each.bins.name for each in properties])
    axis.set_ylim(0, 1)
    axis.set_ylabel("accuracy on held-out frames")
    axis.grid(axis="y", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)


def _weights(properties: Sequence[MappedProperty], figure: Any) -> None:
    axes = figure.subplots(len(properties), 1, squeeze=False)[:, 0]
    for axis, own in zip(axes, properties, strict=True):
        weights = np.asarray(own.map.weights) * np.asarray(own.map.spread)
        order = np.argsort(-np.abs(weights).max(0), kind="stable")[:40]
        shown = weights[:, order[np.argsort(weights[:, order].argmax(0), kind="stable")]]
        limit = float(np.abs(shown).max()) or 1.0
        axis.imshow(
            shown, aspect="auto", origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        ticks = np.unique(np.linspace(0, len(own.map.classes) - 1, 5).round().astype(int))
        words = [
            "none" if kind >= len(own.bins.edges) - 1 else f"{own.bins.middle(kind):.4g}"
            for kind in (own.map.classes[i] for i in ticks)
        ]
        axis.set_yticks(ticks, words)
        axis.set_ylabel(f"{own.bins.name}, {UNITS[own.bins.name]}")
        axis.set_xticks([])
    axes[-1].set_xlabel("forty features that weigh most, in the order of their class")
