"""Pictures of mel patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.log_mel import band_centres
from ...evaluate.drawing import INK, MUTED
from ..frame.presented import Picture
from .mel_records import MelPattern
from .window_means import BAND, as_array

TICKS = (125, 250, 500, 1000, 2000, 4000)


def picture_of(pattern: MelPattern, seconds: float) -> Picture:
    """The mean window, and its difference from random ones with a line around what is beyond the band."""
    return Picture(
        f"Mel pattern of feature {pattern.feature}",
        f"Spectrograms, {seconds:g} s around peaks of the activation: the mean of {pattern.windows} windows, and its "
        f"difference from windows at random frames, largest {pattern.peak_ms:.0f} ms from the peak at "
        f"{pattern.peak_hz:.0f} Hz",
        lambda figure: _draw(pattern, seconds, figure),
        height=3.2,
    )  # fmt: skip


def pictures_of_patterns(patterns: Sequence[MelPattern], seconds: float) -> list[Picture]:
    """A picture of each pattern of the SAE."""
    return [picture_of(each, seconds) for each in patterns if each.dictionary == "SAE"]


def _draw(pattern: MelPattern, seconds: float, figure: Any) -> None:
    axes = figure.subplots(1, 2, sharey=True)
    mean, difference, z = (as_array(each) for each in (pattern.mean, pattern.difference, pattern.z))
    half = (mean.shape[1] - 1) * 5
    extent = (-half - 5, half + 5, -0.5, len(mean) - 0.5)
    most = float(np.nanmax(np.abs(difference)))
    dB = 40  # decibels of one unit, since a unit is four decades
    shown = (
        (axes[0], mean * dB, "magma", float(np.nanmin(mean)) * dB, float(np.nanmax(mean)) * dB, "mean, dB"),
        (axes[1], difference * dB, "RdBu_r", -most * dB, most * dB, "minus random windows, dB"),
    )
    for axis, values, colours, low, high, title in shown:
        image = axis.imshow(values, origin="lower", aspect="auto", extent=extent, cmap=colours, vmin=low, vmax=high)
        axis.axvline(0, color="white" if colours == "magma" else INK, linewidth=0.8, linestyle=":")
        axis.set_title(title, fontsize=9, loc="left", color=MUTED)
        axis.set_xlabel("ms from the peak of the activation")
        bar = figure.colorbar(image, ax=axis, shrink=0.9)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, colors=MUTED)
    columns = np.linspace(-half, half, mean.shape[1])
    beyond = np.nan_to_num(np.abs(z)) > BAND
    if beyond.any() and not beyond.all():
        axes[1].contour(columns, np.arange(len(mean)), beyond, levels=[0.5], colors=INK, linewidths=0.6)
    axes[0].set_yticks(
        [float(np.interp(hz, band_centres(), np.arange(len(mean)))) for hz in TICKS], list(map(str, TICKS))
    )
    axes[0].set_ylabel("Hz")
