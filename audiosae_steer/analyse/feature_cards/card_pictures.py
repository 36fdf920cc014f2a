"""Pictures of a feature card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.drawing import GRID
from ..frame.presented import Picture
from ..mel_windows.mel_pictures import picture_of
from ..mel_windows.mel_records import MelPattern
from .card_records import Histogram, Place

BAR = "#1f5fa8"


def pictures_of_card(
    histogram: Histogram, places: Sequence[Place], mel: MelPattern | None, seconds: float
) -> Sequence[Picture]:
    """Histogram and places of firing, and the mel pattern of windows of so many seconds."""
    found = [
        Picture(
            "Activations, and the frames they fall on",
            "Left: histogram of activations above 0, counts on a logarithmic axis. Right: share of frames of each kind "
            "on which the feature fires",
            lambda figure: _firing(histogram, [each for each in places if each.frames], figure),
            height=2.6,
        )
    ]
    if mel is not None:
        found.append(picture_of(mel, seconds))
    return found


def _firing(histogram: Histogram, places: Sequence[Place], figure: Any) -> None:
    axes = figure.subplots(1, 2, width_ratios=(3, 2)) if places else [figure.subplots()]
    edges, counts = np.array(histogram.edges), np.array(histogram.counts)
    axes[0].bar(edges[:-1], counts, np.diff(edges), align="edge", color=BAR, edgecolor="white", linewidth=0.5)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].tick_params(which="minor", labelleft=False)
    axes[0].set_xlabel("activation")
    axes[0].set_ylabel("frames")
    if places:
        names = [f"{each.place}\n{each.frames:,} frames" for each in places]
        axes[1].bar(range(len(places)), [each.density for each in places], 0.6, color=BAR)
        axes[1].set_xticks(range(len(places)), names)
        axes[1].set_ylabel("share on which it fires")
        axes[1].grid(axis="y", color=GRID, linewidth=0.8)
        axes[1].set_axisbelow(True)
