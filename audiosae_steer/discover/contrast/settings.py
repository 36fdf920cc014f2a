"""Settings of discovery by contrast: clips, pooling, ranking and edits."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

from ...data.labels import Groups, Sources
from ...errors import SteeringError
from ...evaluate.metrics.feature_ranking import Method
from ...models.families.whisper_mel import Pad
from ...steering.gates import Pool

EditKind = Literal["ablate", "scale", "clamp", "add"]
Target = Literal["labels", "text", "words", "no_speech_prob"]
Frames = Literal["audio", "window"]
Padding = Literal["zeros", "silence", "both"]
STEADY = 0.8
"""Share of resamples from which on a feature counts as steady."""


@dataclass(frozen=True, kw_only=True)
class LabelledSources:
    """Sources of clips with and without a concept: two lists of them, or one CSV of labels."""

    present: Sources = ()
    """Clips with the concept: folder, file, or .txt list."""
    absent: Sources = ()
    """Clips without the concept: folder, file, or .txt list. With a target that the model tells, all clips."""
    labels: str | Path | None = None
    """CSV with columns file,label in place of the two; a column group may follow."""
    audio: str | Path | None = None
    """Folder that the CSV's files are in; None takes the CSV's."""
    positive: str | None = None
    """Label of the clips with the concept; None takes 1, and wants 0 for all others."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """Pooling of a clip's features.

    Raises:
        SteeringError: a choice is unknown.
    """

    pool: Pool = "max"
    """`max`, `mean`, or `nonzero_mean` over the frames where a feature fires."""
    pad: Pad = "zeros"
    """Padding of a clip to 30 s; see `mel`."""
    frames: Frames = "audio"
    """`audio` pools over the frames that hold the clip, so that its length tells nothing; `window` over all 30 s with
    their padding, as a clip gate does."""
    write: int | None = None
    """Most tokens that the model writes for each clip, with timestamps if `pad` is `zeros`, as Whisper's `transcribe`
    does, and without if it is `silence`; None lets it write nothing. openai-whisper only."""

    def __post_init__(self) -> None:
        _check_choices(self, pool=Pool, pad=Pad, frames=Frames)


@dataclass(frozen=True, kw_only=True)
class DiscoverSettings:
    """Discovery by contrast: target, ranking, pooling, split and edit.

    Raises:
        SteeringError: a choice is unknown, or a number is out of its range.
    """

    rank: Method = "fisher"
    """Ranking of features: fisher, l1, l2 (logistic regressions), difference (of means). With some hundred clips and
    thousands of features a regression prefers features that fire in a handful of clips, which tell little on others: of
    ten features each for the dogs of ESC-10, Fisher's have a mean AUC of 0.92 alone on held-out recordings, those of
    the L2 0.72. See `feature_ranking.weigh`."""
    pool: Pool = "max"
    """Pooling over a clip's frames: max, mean, nonzero_mean."""
    top: int = 25
    """Most features to edit."""
    edit: EditKind = "add"
    """Kind of edit: add, ablate, scale, clamp. `ablate`, `scale` and `clamp` take features that indicate the concept;
    `add` takes either kind, and moves each against its weight."""
    amount: float | None = None
    """Amount of the edit: typical activations (add), factor (scale), or bound in mean peaks of clips without the
    concept (clamp). None takes 1, 0.5 and 1."""
    target: Target = "labels"
    """Concept: labels; or what the model itself does on clips without labels: text, words, no_speech_prob. That is, it
    writes any `text`, or `words`, or gives a `no_speech_prob` below `tau`."""
    tau: float = 0.6
    """With no_speech_prob: threshold below which the concept is present."""
    pad: Padding = "both"
    """Padding of clips to 30 s: zeros, silence, both. A model's residuals differ between the two; see `mel`."""
    frames: Frames = "audio"
    """Frames to pool over: the clip's own, audio, or all 30 s, window."""
    groups: Groups = "recording"
    """Unit of the split: pieces of one recording, by name, or each file alone. See `labels.from_folders`."""
    held_out: float = 0.3
    """Share of the recordings to hold out."""
    resamples: int = 50
    """Bootstrap resamples for the stability."""
    seed: int = 0
    """Seed of the split, the resamples and the solvers."""

    def __post_init__(self) -> None:
        _check_choices(self, rank=Method, pool=Pool, edit=EditKind, target=Target, frames=Frames, groups=Groups)
        if self.pad not in ("both", *get_args(Pad)):
            raise SteeringError(f"pad {self.pad!r} is unknown; expected one of both, {', '.join(get_args(Pad))}")
        for field, low in (("top", 1), ("resamples", 0)):
            if getattr(self, field) < low:
                raise SteeringError(f"{field} is {getattr(self, field)}; expected at least {low}")
        if self.amount is not None and not (isfinite(self.amount) and self.amount >= 0):
            raise SteeringError(f"the amount is {self.amount}; expected 0 or more: its sign comes from the weights")


def _check_choices(settings: Any, **known: Any) -> None:
    for field, type_ in known.items():
        value = getattr(settings, field)
        if value not in get_args(type_):
            raise SteeringError(f"{field} {value!r} is unknown; expected one of {', '.join(get_args(type_))}")
