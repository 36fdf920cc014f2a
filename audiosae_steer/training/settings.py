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
from ..io.units.engine_pool import Engine
from ..io.units.named_engine import EngineName

Architecture = Literal["batchtopk", "matryoshka", "topk", "relu-rms"]
Pool = Literal["frames", "mean"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Sizes and schedule of SAE training; the defaults suit a small Whisper on two cores.

    Raises:
        SteeringError: a setting is out of its range; the message names it.
    """

    n_features: int = 3072
    """Features of the SAE."""
    k: int = 32
    """Features that fire per frame, on average; of `topk` in every frame, of `relu-rms` whatever its L1 leaves."""
    sparsity: float | None = None
    """Share of the features that do not fire on a frame, in the place of k: k is `int((1 - sparsity) * n_features)`."""
    l1: float = 0.05
    """Weight of the L1 norm of what the ReLU leaves, ahead of the RMSNorm: of `relu-rms` alone. The paper's are .005 to
    .15. How sparse that makes it, L0 tells: the norm leaves the size of features free, which the loss shrinks too."""
    steps: int = 3000
    """Batches to train on."""
    batch: int = 2048
    """Frames per batch."""
    lr: float = 8e-4
    """Adam's learning rate, which falls to a hundredth over the last third of the steps."""
    seed: int = 0
    """Seed of the weights and of the frames' order; the frames themselves are those of `TrainOptions.collect_seed`."""
    architecture: Architecture = "batchtopk"
    """`batchtopk` (Bussmann et al., arXiv 2412.06410), or `matryoshka`, whose first features explain a frame by
    themselves (Bussmann et al., arXiv 2503.17547); both are read by the same gate. Or `topk`, k of each frame (Gao et
    al., arXiv 2406.04093), or `relu-rms`, a ReLU and an RMSNorm under an L1 loss (Paek et al., arXiv 2510.23802)."""
    widths: tuple[int, ...] = ()
    """Widths of a matryoshka's nested dictionaries, ascending; empty takes a 32nd, an 8th and half of the features. All
    features are the last width, named or not."""
    buffer: int = BUFFER
    """Frames that are shuffled among each other in memory."""
    pool: Pool = "frames"
    """Train on every frame, or on the mean of the frames of each stretch of `pool_seconds`, as Mariotte et al. do."""
    pool_seconds: float = 5.0
    """Seconds of a stretch whose frames are averaged, padding left out, with `pool` set to mean."""

    def __post_init__(self) -> None:
        for name in ("n_features", "k", "steps", "batch", "seed", "buffer"):
            lowest = 0 if name == "seed" else 1
            if not getattr(self, name) >= lowest:
                raise SteeringError(f"{name} is {getattr(self, name)}; expected at least {lowest}")
        if self.seed >= 2**32:  # numpy takes no more
            raise SteeringError(f"seed is {self.seed}; expected at most {2**32 - 1}")
        if not 0 < self.lr < float("inf"):
            raise SteeringError(f"lr is {self.lr}; expected a learning rate above 0, such as 8e-4")
        self._check_sparsity()
        if self.architecture not in get_args(Architecture):
            known = " or ".join(get_args(Architecture))
            raise SteeringError(f"architecture {self.architecture!r} is unknown; expected {known}")
        if self.pool not in get_args(Pool):
            raise SteeringError(f"pool is {self.pool!r}; expected {' or '.join(get_args(Pool))}")
        if not 0.25 <= self.pool_seconds <= 30:
            raise SteeringError(f"pool_seconds is {self.pool_seconds}; expected 0.25 to 30 seconds")
        if self.widths and self.architecture != "matryoshka":
            raise SteeringError('widths are those of nested dictionaries: they go with architecture "matryoshka"')
        nested = self.nested
        if nested and (nested[0] < 1 or any(a >= b for a, b in pairwise(nested))):
            raise SteeringError(
                f"widths {', '.join(map(str, nested))}: expected ascending numbers from 1 to the {self.n_features} "
                "features"
            )

    def _check_sparsity(self) -> None:
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise SteeringError(f"sparsity is {self.sparsity}; expected a share from 0 to below 1, such as .95")
        if self.sparsity is not None and self.architecture == "relu-rms":
            raise SteeringError("the sparsity of relu-rms is what its L1 loss makes of it: give l1, and see L0")
        if self.kept < 1:
            raise SteeringError(
                f"sparsity {self.sparsity} leaves none of {self.n_features} features; take less, or more features"
            )
        if self.kept > self.n_features:
            raise SteeringError(f"k = {self.k} is more than the {self.n_features} features; take fewer, or a larger")
        if not 0 <= self.l1 < float("inf"):
            raise SteeringError(f"l1 is {self.l1}; expected a weight of 0 or more, such as 0.05")

    @property
    def kept(self) -> int:
        """Features that fire per frame: k, or what sparsity says."""
        return self.k if self.sparsity is None else int((1 - self.sparsity) * self.n_features)

    @property
    def nested(self) -> tuple[int, ...]:
        """Widths of a matryoshka's dictionaries, ascending, all features last; empty for another architecture."""
        if self.architecture != "matryoshka":
            return ()
        own = self.widths or (self.n_features // 32, self.n_features // 8, self.n_features // 2)
        return (*(width for width in own if width != self.n_features), self.n_features)

    def as_json(self) -> dict[str, Any]:
        """The settings for an SAE's file and for checkpoints, with the k and widths that are trained."""
        said = {**plain(self), "k": self.kept, "widths": list(self.nested)}
        unused = {
            "sparsity": self.sparsity is None,
            "k": self.architecture == "relu-rms",
            "l1": self.architecture != "relu-rms",
            "pool": self.pool == "frames",
            "pool_seconds": self.pool == "frames",
        }  # so that files and checkpoints of trainings without them are what they were
        return {name: value for name, value in said.items() if not unused.get(name, False)}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training that leave its settings alone: what it reads, keeps and writes on the card."""

    cache: str | Path | None = None
    """Folder for activations and training checkpoints, with which an interrupted run resumes; None: beside the SAE."""
    collect_layers: Sequence[int] = ()
    """Encoder layers to collect in the same pass over the audio, for training several; the SAE's own is collected in
    any case."""
    collect_seed: int = 0
    """Seed of what is random in collecting: gain, mixing, and which clips and frames of padding are taken. It is apart
    from the training's own, so that trainings of several seeds learn from the same frames, and share `cache`."""
    most: int | None = None
    """Most clips to take of each data set of the Hub."""
    engine: Engine | EngineName | None = None
    """Engine to collect by, as of `collect`."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Provenance to store in the SAE's file; `model` and `command` are shown on the card."""
    licence: str | None = None
    """Licence of the SAE, for the card, as the Hub abbreviates it ("mit")."""
