"""How an SAE is trained."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

from ..data.activations.shards import BUFFER
from ..errors import SteeringError

Architecture = Literal["batchtopk", "matryoshka"]


class Settings(NamedTuple):
    """How to train; the defaults suit a small Whisper on two cores."""

    n_features: int = 3072
    """Size of the dictionary."""
    k: int = 32
    """Features that fire per frame, on average."""
    steps: int = 3000
    """Batches to train on."""
    batch: int = 2048
    """Frames a batch."""
    lr: float = 8e-4
    """Adam's learning rate, falling to nothing over the last third."""
    seed: int = 0
    """Of the weights and of the order of the frames."""
    architecture: Architecture = "batchtopk"
    """`batchtopk` (Bussmann et al., arXiv 2412.06410), or `matryoshka`, whose first features explain a frame by
    themselves (Bussmann et al., arXiv 2503.17547); both are read by the same gate."""
    widths: tuple[int, ...] = ()
    """Of a matryoshka's nested dictionaries, ascending; none takes a 32nd, an 8th and half of the features. All of them
    are the last, named or not."""
    buffer: int = BUFFER
    """Frames that are shuffled among each other in memory."""

    @property
    def nested(self) -> tuple[int, ...]:
        """The widths of a matryoshka's dictionaries, the whole as the last; of none otherwise."""
        if self.architecture != "matryoshka":
            return ()
        own = self.widths or (self.n_features // 32, self.n_features // 8, self.n_features // 2)
        return (*(width for width in own if width != self.n_features), self.n_features)


def check(settings: Settings) -> None:
    """Refuse what cannot be trained, before anything is collected.

    Raises:
        SteeringError: a setting is out of its range; the message names it.
    """
    least: dict[str, float] = {"n_features": 1, "k": 1, "steps": 1, "batch": 1, "seed": 0, "buffer": 1}
    for name, lowest in least.items():
        if not getattr(settings, name) >= lowest:
            raise SteeringError(f"{name} is {getattr(settings, name)}; expected at least {lowest}")
    if settings.seed >= 2**32:  # numpy takes no more
        raise SteeringError(f"seed is {settings.seed}; expected at most {2**32 - 1}")
    if not 0 < settings.lr < float("inf"):
        raise SteeringError(f"lr is {settings.lr}; expected a learning rate above 0, such as 8e-4")
    if settings.k > settings.n_features:
        raise SteeringError(
            f"k = {settings.k} is more than the {settings.n_features} features; take fewer, or a larger"
        )
    if settings.architecture not in get_args(Architecture):
        known = " or ".join(get_args(Architecture))
        raise SteeringError(f"architecture {settings.architecture!r} is unknown; expected {known}")
    if settings.widths and settings.architecture != "matryoshka":
        raise SteeringError('widths are those of nested dictionaries: they go with architecture "matryoshka"')
    nested = settings.nested
    if nested and (nested[0] < 1 or any(a >= b for a, b in pairwise(nested))):
        raise SteeringError(
            f"widths {', '.join(map(str, nested))}: expected ascending numbers from 1 to the {settings.n_features} "
            "features"
        )


def plain(settings: Settings) -> dict[str, Any]:
    """As JSON has it."""
    return {**settings._asdict(), "widths": list(settings.nested)}
