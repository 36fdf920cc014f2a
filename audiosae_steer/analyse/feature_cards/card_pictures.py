"""Pictures of a feature card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.audio import SAMPLE_RATE, Samples
from ...evaluate.drawing import GRID, INK, MUTED
from ..frame.presented import Picture
from ..mel_windows.log_mel import band_centres, log_mel, mel_power
from ..mel_windows.mel_pictures import TICKS, picture_of
from ..mel_windows.mel_records import MelPattern
from .card_records import CardClip, Histogram, Place

BAR, OTHER = "#1f5fa8", "#c9ced6"


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


def clip_picture(clip: CardClip, samples: Samples) -> Picture:
    """Spectrogram of a stretch, and the activation below it."""
    first = int(clip.start * SAMPLE_RATE)
    stretch = samples[first : first + int(clip.seconds * SAMPLE_RATE)]
    return Picture(
        clip.name, f"Spectrogram of {clip.name}, and below it the feature's activation",
        lambda figure: _clip(clip, stretch, figure), width=6.0, height=2.3,
    )  # fmt: skip


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


def _clip(clip: CardClip, samples: Samples, figure: Any) -> None:
    axes = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    mel = log_mel(mel_power(samples))
    end = clip.start + clip.seconds
    axes[0].imshow(
        mel.T, origin="lower", aspect="auto", cmap="magma", extent=(clip.start, end, -0.5, mel.shape[1] - 0.5)
    )
    shown = TICKS[::2]
    axes[0].set_yticks([float(np.interp(hz, band_centres(), np.arange(mel.shape[1]))) for hz in shown],
                       list(map(str, shown)))  # fmt: skip
    axes[0].set_ylabel("Hz")
    trace = np.array(clip.trace)
    times = clip.start + (np.arange(len(trace)) + 0.5) / clip.rate
    colour = MUTED if clip.near_miss else BAR
    if clip.near_miss:
        axes[1].plot(times, trace, color=colour, linewidth=1.2)
        axes[1].axhline(clip.fires_from, color=INK, linewidth=0.9, linestyle="--")
    else:
        axes[1].fill_between(times, trace, step="mid", color=colour, linewidth=0)
        axes[1].set_ylim(0, None)
    axes[1].set_ylabel("score" if clip.near_miss else "activation")
    axes[1].set_xlabel("seconds")
    axes[1].set_xlim(clip.start, end)
