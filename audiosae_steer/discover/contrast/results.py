"""What discovery is told, and what it finds."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.labels import Groups
from ...data.windows import Window
from ...evaluate.metrics.feature_ranking import Method, Separation
from ...models.families.whisper_mel import Pad
from ...steering.gates import Pool
from .pooling import Frames

EditKind = Literal["ablate", "scale", "clamp", "add"]
Target = Literal["labels", "text", "words", "no_speech_prob"]
AMOUNTS: dict[EditKind, float] = {"ablate": 0.0, "scale": 0.5, "clamp": 1.0, "add": 1.0}
WRITES: dict[Target, int | None] = {"labels": None, "text": 48, "words": 48, "no_speech_prob": 1}
"""Tokens that the model has to write to tell: whether any text comes shows early."""


class DiscoverSettings(NamedTuple):
    """What to look for, and how."""

    rank: Method = "fisher"
    """How to weigh the features; see `rank.weigh`. With some hundred clips and thousands of features a regression
    prefers features that fire in a handful of clips, which tell little on others: of ten features each for the dogs of
    ESC-10, Fisher's have a mean AUC of 0.92 alone on held-out recordings, those of the L2 0.72."""
    pool: Pool = "max"
    """How to pool a clip's activations."""
    top: int = 25
    """Most features to edit."""
    edit: EditKind = "add"
    """`ablate`, `scale` and `clamp` take features that indicate the concept; `add` takes either kind, and moves each
    against its weight."""
    amount: float | None = None
    """Of `add`, in typical activations; the factor of `scale`; of `clamp`, the bound in mean peaks of clips without the
    concept. None takes 1, 0.5 and 1."""
    target: Target = "labels"
    """What the concept is: `labels`; or, on clips without labels, that the model itself writes any `text`, or `words`,
    or gives a `no_speech_prob` below `tau`."""
    tau: float = 0.6
    """Threshold of `no_speech_prob`."""
    pad: Literal["zeros", "silence", "both"] = "both"
    """How the 30 s are filled up; see `collect.mel`. A model hears the two differently."""
    frames: Frames = "audio"
    """Frames to pool over; see `pool_clips`."""
    groups: Groups = "recording"
    """What the split keeps together; see `labels.from_folders`."""
    held_out: float = 0.3
    """Share of the recordings to hold out."""
    resamples: int = 50
    """Bootstrap resamples for the stability."""
    seed: int = 0
    """Of the split, the resamples and the solvers."""


class Feature(NamedTuple):
    """One feature, and what it says about the concept."""

    number: int
    """In the SAE, counted from 0."""
    weight: float
    """Above 0 where it indicates the concept."""
    auc: float
    """Of its pooled activation alone, on held-out clips; below 0.5 it is higher without the concept."""
    mean_present: float
    """Mean pooled activation with the concept, over all clips."""
    mean_absent: float
    """Without it."""
    fires_present: float
    """Share of the clips with the concept in which it fires at all."""
    fires_absent: float
    """Of those without."""
    stability: float
    """Share of bootstrap resamples in which it is again among the top features."""


class Found(NamedTuple):
    """Everything that discovery found. Rows are clips, once for each way to pad."""

    settings: DiscoverSettings
    clips: tuple[Window, ...]
    """(rows,)"""
    groups: tuple[str, ...]
    """(rows,) recordings."""
    pads: tuple[Pad, ...]
    """(rows,) how the 30 s were filled up."""
    labels: NDArray[np.bool_]
    """(rows,) whether the concept is present."""
    held: NDArray[np.bool_]
    """(rows,) whether it was held out."""
    peaks: NDArray[np.float64]
    """(rows, top features) highest activations."""
    features: tuple[Feature, ...]
    """The top features, by falling weight."""
    scores: NDArray[np.float64]
    """(held-out rows,) log odds of the probe on the top features, fitted on the others."""
    probe: Separation
    """How well these tell the two kinds apart."""
    random: float
    """The same of as many random features among those that fire, mean of 20 draws: what chance features tell."""

    def tally(self, held: bool) -> tuple[int, int]:
        """Clips with and without the concept that were held out, or not; each once, however often it was padded."""
        rows = [(clip, flag) for clip, flag, out in zip(self.clips, self.labels, self.held, strict=True) if out == held]
        return len({clip for clip, flag in rows if flag}), len({clip for clip, flag in rows if not flag})
