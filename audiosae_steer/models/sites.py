"""What a site is, and what a family of models has to tell about its sites."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import SiteError

Door = Callable[[int], Tensor | bool]
"""For so many rows of decoded text: whether each may be empty, (rows,) bool, or one answer for all."""

Side = Literal["encoder", "decoder"]
Layout = Literal["bfd", "bdf"]
"""Order of a residual's axes: batch, frames, d_model; or channels first."""
Passes = Literal["both", "conditional", "unconditional"]


@dataclass(frozen=True)
class Site:
    """One place in a model where the residual can be read and replaced.

    Layer n is the output of the n-th block, counted from 1, as the AudioSAE checkpoints count. Or `path`, as in
    `model.get_submodule(path)`: the output of any module.
    """

    layer: int = 0
    """Counted from 1; 0 with a path."""
    side: Side = "encoder"
    path: str | None = None
    layout: Layout = "bfd"
    """With a path: the order of the axes of what the module gives."""
    frame_rate: float | None = None
    """With a path: frames per second; None: the frames have no time, and edits no windows."""

    def __post_init__(self) -> None:
        if self.side not in ("encoder", "decoder"):
            raise SiteError(f'side is {self.side!r}; expected "encoder" or "decoder"')
        if self.layout not in ("bfd", "bdf"):
            raise SiteError(
                f'layout is {self.layout!r}; expected "bfd" (batch, frames, d_model) or "bdf" (channels first)'
            )
        if self.path is not None:
            self._check_path()
        elif isinstance(self.layer, bool) or not hasattr(self.layer, "__index__") or self.layer < 1:
            raise SiteError(f"layer is {self.layer!r}; layers are whole numbers counted from 1")
        elif self.layout != "bfd" or self.frame_rate is not None:
            raise SiteError("layout and frame_rate go with a path; of a layer, the model's family knows them")
        object.__setattr__(self, "layer", int(self.layer))  # numpy's whole numbers are welcome, but do not go into JSON

    def _check_path(self) -> None:
        if not isinstance(self.path, str) or self.layer != 0:
            raise SiteError(f"a site is a layer or a path, not both: layer {self.layer!r}, path {self.path!r}")
        rate = self.frame_rate
        if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate < float("inf")):
            raise SiteError(f"frame_rate is {rate!r}; expected frames per second, or None")

    def __str__(self) -> str:
        return f"{self.side} layer {self.layer}" if self.path is None else repr(self.path)


@dataclass(frozen=True)
class Tap:
    """Where in a model the residual of a site is."""

    module: nn.Module
    place: Literal["output", "input"] = "output"
    """Of the module; the first of a tuple. The input is taken where something is added between two modules."""
    layout: Layout = "bfd"
    times: Callable[[int, torch.device], Tensor] | None = None
    """Seconds of so many frames, where frame i is not at (i + 0.5) / frame_rate; minus infinity: at none."""
    size: int | None = None
    """Width of the residual where it is another than that of the model's layers."""


class Moment(NamedTuple):
    """What a pass of a model says of itself before its blocks run."""

    frames: Tensor | None = None
    """(rows, frames) bool: which frames are of the input; the others only fill up the batch, and stay as they are."""
    offset: float | Tensor = 0.0
    """Seconds of the input before the first frame, where a model reads it in pieces; (rows,) where rows differ."""
    conditional: bool = True
    """Whether it is the guided pass of a diffusion model."""
    step: int = 0
    """Of a diffusion, counted from 0."""
    flow: float | Tensor = 0.0
    """Its time t, from noise (0) to sound (1)."""


Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
"""A module, and what to call it with."""
Watch = Callable[[Moment], None]
"""Told of each pass."""


class Dims(NamedTuple):
    """The sizes that decide whether a recipe fits a model."""

    d_model: int
    """Width of the residual."""
    encoder_layers: int
    """Number of encoder blocks."""
    decoder_layers: int
    """Number of decoder blocks."""
    vocabulary: int
    """Rows of the token embedding; 0 where there is none."""


class Family(ABC):
    """One family of models: how it is recognised, and where its residuals are."""

    name: str
    """As recipes name it; the same for both libraries' Whisper, whose weights are the same."""
    library: str
    """Where its class comes from, for messages."""
    diffuses: bool = False
    """Whether it runs at each step of a diffusion."""

    @abstractmethod
    def matches(self, model: nn.Module) -> bool:
        """Whether `model` belongs here; told by class names or structure, so that nothing heavy is imported."""

    @abstractmethod
    def dims(self, model: nn.Module) -> Dims:
        """The model's sizes."""

    @abstractmethod
    def tap(self, model: nn.Module, site: Site) -> Tap:
        """Where the residual at `site` is; the layer is known to exist."""

    @abstractmethod
    def frame_rate(self, model: nn.Module, site: Site) -> float | None:
        """Frames per second at `site`, or None where frames have no time."""

    def fingerprint_tensors(self, model: nn.Module) -> list[Tensor]:
        """A few tensors, in a fixed order, that tell these weights from others of the same shape."""
        matrices: list[Tensor] = [tensor for _, tensor in sorted(model.named_parameters()) if tensor.dim() > 1]
        return matrices[:: max(1, len(matrices) // 8)]

    def watch(self, model: nn.Module, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """Have `tell` called before each pass with what there is to say of it; returns what ends that.

        Where a pass begins in its recording is asked for only where edits have `windows`.
        """
        return []

    takes_windows: bool = False
    """Whether it hears 30 s at a time, whatever a clip's length."""

    def sample_rate(self, model: nn.Module) -> int:
        """Of the sound that it hears."""
        raise SiteError(f"{self.name} takes no audio, so there are no activations to collect: it generates audio")

    def prepare(self, model: nn.Module, samples: NDArray[np.float32]) -> Call:
        """What to call, and with what, so that a mono clip passes by its encoder's sites."""
        raise SiteError(f"{self.name} takes no audio, so there are no activations to collect: it generates audio")

    def max_seconds(self, model: nn.Module) -> float | None:
        """Seconds of the longest clip that it hears at once; None: any."""
        return None

    def valid_frames(self, model: nn.Module, site: Site, frames: int, seconds: float) -> Tensor:
        """Which of so many frames are of a clip of so many seconds, and not of what fills it up: (frames,) bool."""
        tap = self.tap(model, site) if site.path is None else None
        if tap is None or tap.times is None:
            return torch.ones(frames, dtype=torch.bool)
        return tap.times(frames, torch.device("cpu")) < seconds

    def bias_module(self, model: nn.Module, site: Site) -> nn.Module:
        """The module whose bias reaches the residual at `site` as it is, so that a constant there can be baked into it.

        Raises:
            SiteError: none does, or it is not known; says what follows the block's last bias instead.
        """
        raise SiteError(f"of {self.name} no bias is known that reaches {site} as it is")

    def in_chunks(self, model: nn.Module) -> bool:
        """Whether one pass takes its input in pieces, and comes by a site once for each."""
        return False

    def text_start(self, model: nn.Module) -> tuple[nn.Module, range]:
        """The decoder's token embedding, and the tokens right after which a text's first token is written."""
        raise SiteError(f'{self.name} writes no text token by token, of which steps="first" could edit the first')

    def allow_empty(self, model: nn.Module, door: Door) -> Callable[[], None]:
        """Let this instance write an empty text for the clips for which `door` says so; returns what undoes it."""
        raise SiteError(f"{self.name} is under no rule against empty texts: leave allow_empty out")


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
