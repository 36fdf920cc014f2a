"""What a site is, and what a family of models has to tell about its sites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from ..errors import SiteError
from .empty import Door

Side = Literal["encoder", "decoder"]


@dataclass(frozen=True, order=True)
class Site:
    """One place in a model where the residual can be read and replaced.

    Layer n is the output of the n-th block, counted from 1, as the AudioSAE checkpoints count.
    """

    layer: int
    side: Side = "encoder"

    def __post_init__(self) -> None:
        if self.side not in ("encoder", "decoder"):
            raise SiteError(f'side is {self.side!r}; expected "encoder" or "decoder"')
        if isinstance(self.layer, bool) or not hasattr(self.layer, "__index__") or self.layer < 1:
            raise SiteError(f"layer is {self.layer!r}; layers are whole numbers counted from 1")
        object.__setattr__(self, "layer", int(self.layer))  # numpy's whole numbers are welcome, but do not go into JSON

    def __str__(self) -> str:
        return f"{self.side} layer {self.layer}"

    @property
    def order(self) -> tuple[bool, int]:
        """Sorts sites in the order in which a forward pass reaches them."""
        return (self.side == "decoder", self.layer)


class Dims(NamedTuple):
    """The sizes that decide whether a recipe fits a model."""

    d_model: int
    """Width of the residual."""
    encoder_layers: int
    """Number of encoder blocks."""
    decoder_layers: int
    """Number of decoder blocks."""
    vocabulary: int
    """Rows of the token embedding."""


class Family(Protocol):
    """One family of models: how it is recognised, and where its residuals are."""

    name: str
    """As recipes name it; the same for both libraries' Whisper, whose weights are the same."""
    library: str
    """Where its class comes from, for messages."""

    def matches(self, model: nn.Module) -> bool:
        """Whether `model` belongs here; told by class names, so that nothing heavy is imported."""

    def dims(self, model: nn.Module) -> Dims:
        """The model's sizes."""

    def block(self, model: nn.Module, site: Site) -> nn.Module:
        """The module whose output is the residual at `site`; the layer is known to exist."""

    def frame_rate(self, model: nn.Module, site: Site) -> float | None:
        """Frames per second at `site`, or None where frames have no time."""

    def fingerprint_tensors(self, model: nn.Module) -> list[Tensor]:
        """A few tensors, in a fixed order, that tell these weights from others of the same shape."""

    def text_start(self, model: nn.Module) -> tuple[nn.Module, range]:
        """The decoder's token embedding, and the tokens right after which a text's first token is written."""

    def allow_empty(self, model: nn.Module, door: Door) -> Callable[[], None]:
        """Let this instance write an empty text for the clips for which `door` says so; returns what undoes it."""


def is_instance(model: Any, *names: str) -> bool:
    """Whether a class of that qualified name is among the model's bases; imports nothing."""
    return any(f"{cls.__module__}.{cls.__qualname__}" in names for cls in type(model).__mro__)


TIMESTAMPS = 1501
"""Of every Whisper, from 0 to 30 s in steps of 20 ms; they are the last tokens, and "no timestamps" is before them."""
LATEST = 50
"""In such steps: decoding begins with a timestamp of at most 1 s."""


def first_text_tokens(vocabulary: int) -> range:
    """The tokens of a Whisper right after which the first token of a text is written.

    Raises:
        SiteError: the vocabulary has no timestamps.
    """
    if vocabulary <= TIMESTAMPS:
        raise SiteError(f"a vocabulary of {vocabulary} tokens has no timestamps, by which the start of a text is known")
    none = vocabulary - TIMESTAMPS - 1
    return range(none, none + LATEST + 2)
