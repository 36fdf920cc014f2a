"""Settings of SAE training, checked when they are made, and options of where its parts come from and go to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

from ..data.activations.shards import BUFFER
from ..errors import SteeringError
from ..io.strict_json import plain

Architecture = Literal["batchtopk", "matryoshka"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Sizes and schedule of SAE training; the defaults suit a small Whisper on two cores.

    Raises:
        SteeringError: a setting is out of its range; the message names it.
    """

    n_features: int = 3072
    """Features of the SAE."""
    k: int = 32
    """Features that fire per frame, on average."""
    steps: int = 3000
    """Batches to train on."""
    batch: int = 2048
    """Frames per batch."""
    lr: float = 8e-4
    """Adam's learning rate, which falls to a hundredth over the last third of the steps."""
    seed: int = 0
    """Seed of the weights and of the frames' order."""
    architecture: Architecture = "batchtopk"
    """`batchtopk` (Bussmann et al., arXiv 2412.06410), or `matryoshka`, whose first features explain a frame by
    themselves (Bussmann et al., arXiv 2503.17547); both are read by the same gate."""
    widths: tuple[int, ...] = ()
    """Widths of a matryoshka's nested dictionaries, ascending; empty takes a 32nd, an 8th and half of the features. All
    features are the last width, named or not."""
    buffer: int = BUFFER
    """Frames that are shuffled among each other in memory."""

    def __post_init__(self) -> None:
        for name in ("n_features", "k", "steps", "batch", "seed", "buffer"):
            lowest = 0 if name == "seed" else 1
            if not getattr(self, name) >= lowest:
                raise SteeringError(f"{name} is {getattr(self, name)}; expected at least {lowest}")
        if self.seed >= 2**32:  # numpy takes no more
            raise SteeringError(f"seed is {self.seed}; expected at most {2**32 - 1}")
        if not 0 < self.lr < float("inf"):
            raise SteeringError(f"lr is {self.lr}; expected a learning rate above 0, such as 8e-4")
        if self.k > self.n_features:
            raise SteeringError(f"k = {self.k} is more than the {self.n_features} features; take fewer, or a larger")
        if self.architecture not in get_args(Architecture):
            known = " or ".join(get_args(Architecture))
            raise SteeringError(f"architecture {self.architecture!r} is unknown; expected {known}")
        if self.widths and self.architecture != "matryoshka":
            raise SteeringError('widths are those of nested dictionaries: they go with architecture "matryoshka"')
        nested = self.nested
        if nested and (nested[0] < 1 or any(a >= b for a, b in pairwise(nested))):
            raise SteeringError(
                f"widths {', '.join(map(str, nested))}: expected ascending numbers from 1 to the {self.n_features} "
                "features"
            )

    @property
    def nested(self) -> tuple[int, ...]:
        """Widths of a matryoshka's dictionaries, ascending, all features last; empty for another architecture."""
        if self.architecture != "matryoshka":
            return ()
        own = self.widths or (self.n_features // 32, self.n_features // 8, self.n_features // 2)
        return (*(width for width in own if width != self.n_features), self.n_features)

    def as_json(self) -> dict[str, Any]:
        """The settings for an SAE's file and for checkpoints, with the widths that are trained."""
        return {**plain(self), "widths": list(self.nested)}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training that leave its settings alone: what it reads, keeps and writes on the card."""

    cache: str | Path | None = None
    """Folder for activations and training checkpoints, with which an interrupted run resumes; None: beside the SAE."""
    collect_layers: Sequence[int] = ()
    """Encoder layers to collect in the same pass over the audio, for training several; the SAE's own is collected in
    any case."""
    most: int | None = None
    """Most clips to take of each data set of the Hub."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Provenance to store in the SAE's file; `model` and `command` are shown on the card."""
    licence: str | None = None
    """Licence of the SAE, for the card, as the Hub abbreviates it ("mit")."""
