"""Sites of residuals in models, and the interface of a family of models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import SiteError

Door = Callable[[int], Tensor | bool]
"""Permission of empty texts: from a number of rows of decoded text to (rows,) bool, or to one answer for all."""

Unspoken = Callable[[int], Tensor | None]
"""From a number of rows of decoded text to (rows, frames) bool: frames without speech; None: not known of any."""

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
    """The place of a site's residual in a model."""

    module: nn.Module
    place: Literal["output", "input"] = "output"
    """Of the module; the first of a tuple. The input is taken where something is added between two modules."""
    layout: Layout = "bfd"
    times: Callable[[int, torch.device], Tensor] | None = None
    """Seconds (frames,) of n frames, where frame i is not at (i + 0.5) / frame_rate; minus infinity: at no time."""
    size: int | None = None
    """Width of the residual where it is another than that of the model's layers."""


class Moment(NamedTuple):
    """State of one pass of a model, known before its blocks run."""

    frames: Tensor | None = None
    """(rows, frames) bool: frames of the input; the others are padding, which is not steered. None: all."""
    offset: float | Tensor = 0.0
    """Seconds of the input before the first frame, where a model reads it in pieces; (rows,) where rows differ."""
    conditional: bool = True
    """It is the conditional pass of a guided diffusion."""
    step: int = 0
    """Step of a diffusion, counted from 0."""
    flow: float | Tensor = 0.0
    """Time t of a flow, from noise (0) to audio (1)."""
    filled: Tensor | None = None
    """(rows, n) bool: columns of a spectrogram that only fill up its window, at its end. None: not known."""


Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]
"""A module, and the arguments of its call."""
Watch = Callable[[Moment], None]
"""Called with the state of each pass."""
Places = Callable[[int], tuple[float | Tensor, Sequence[int]]]
"""Called within a pass of so many rows: seconds of the recording before each row's window, one number or (rows,); and
the row of the batch that the loop was given."""
Carry = Callable[[Tensor], None]
"""Called with an encoding (clips, frames, n)."""


class Dims(NamedTuple):
    """The sizes that decide whether a recipe fits a model."""

    d_model: int
    """Width of the residual."""
    encoder_layers: int
    """Number of encoder blocks."""
    decoder_layers: int
    """Number of decoder blocks."""
    vocabulary: int
    """Rows of the token embedding; 0 without one."""


class Family(ABC):
    """One family of models: its recognition, sizes and residuals.

    Abstract methods are needed by every family; the others by what they serve: gates and windows (`watch`), collecting
    activations (`prepare`), baking (`bias_module`), decoding (`text_start`, `allow_empty`).
    """

    name: str
    """As recipes name it; the same for both libraries' Whisper, whose weights are the same."""
    library: str
    """Library that its class comes from, for messages."""
    diffuses: bool = False
    """It is a diffusion model, which runs once a step."""

    @abstractmethod
    def matches(self, model: nn.Module) -> bool:
        """`model` belongs here; by class names or structure, so that nothing heavy is imported."""

    @abstractmethod
    def dims(self, model: nn.Module) -> Dims:
        """The model's sizes."""

    @abstractmethod
    def tap(self, model: nn.Module, site: Site) -> Tap:
        """The residual at `site`, of which the layer is known to exist."""

    @abstractmethod
    def frame_rate(self, model: nn.Module, site: Site) -> float | None:
        """Frames per second at `site`, or None where frames have no time."""

    def fingerprint_tensors(self, model: nn.Module) -> list[Tensor]:
        """A few tensors, in a fixed order, that tell these weights from others of the same shape."""
        matrices: list[Tensor] = [tensor for _, tensor in sorted(model.named_parameters()) if tensor.dim() > 1]
        return matrices[:: max(1, len(matrices) // 8)]

    def watch(self, model: nn.Module, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """Call `tell` with the state of each pass before it runs; returns functions that end that.

        The offset of a pass in its recording, and what fills it up, are needed only where edits have `windows`, or a
        gate decides on timestamps.
        """
        return []

    def window_places(self, model: nn.Module) -> Places | None:
        """A function that tells, within a pass, where its windows come from. None: `watch` tells their offsets.

        It reads that from the loop that cuts the recording, and gives 0 and the rows as they are where it knows none.
        """
        return None

    def carry(self, model: nn.Module, encoded: Carry, decodes: Carry) -> list[Callable[[], None]]:
        """Call `encoded` with every encoding as it leaves the encoder, and `decodes` as it enters the decoder.

        Needed where the two may be run apart, so that a gate's decision goes with the encoding; rows may be repeated
        and reordered in between. Returns functions that end that.
        """
        return []

    takes_windows: bool = False
    """It takes windows of 30 s, whatever a clip's length."""

    def sample_rate(self, model: nn.Module) -> int:
        """Samples per second of the audio that it takes."""
        raise SiteError(f"{self.name} takes no audio, so there are no activations to collect: it generates audio")

    def prepare(self, model: nn.Module, samples: NDArray[np.float32]) -> Call:
        """The call that takes a mono clip (samples,) through its encoder's sites."""
        raise SiteError(f"{self.name} takes no audio, so there are no activations to collect: it generates audio")

    def max_seconds(self, model: nn.Module) -> float | None:
        """Seconds of the longest clip that it takes at once; None: any."""
        return None

    def valid_frames(self, model: nn.Module, site: Site, frames: int, seconds: float) -> Tensor:
        """Mask (frames,) of the frames that belong to a clip of so many seconds, and not to its padding."""
        tap = self.tap(model, site) if site.path is None else None
        if tap is None or tap.times is None:
            return torch.ones(frames, dtype=torch.bool)
        return tap.times(frames, torch.device("cpu")) < seconds

    def bias_module(self, model: nn.Module, site: Site) -> nn.Module:
        """The module whose bias is added to the residual at `site` alone, so that a constant can be baked into it.

        Raises:
            SiteError: there is no such module, or it is not known; says what follows the block's last bias instead.
        """
        raise SiteError(f"of {self.name} no bias is known that reaches {site} unchanged")

    def in_chunks(self, model: nn.Module) -> bool:
        """One pass takes its input in chunks, and reaches a site once for each."""
        return False

    def text_start(self, model: nn.Module) -> tuple[nn.Module, range]:
        """The decoder's token embedding, and the tokens that come right before a text's first."""
        raise SiteError(f'{self.name} writes no text token by token, of which steps="first" could edit the first')

    def allow_empty(self, model: nn.Module, door: Door) -> Callable[[], None]:
        """Let this instance write empty texts for the clips that `door` permits; returns a function that undoes it."""
        raise SiteError(f"{self.name} is under no rule against empty texts: leave allow_empty out")

    def limit_timestamps(self, model: nn.Module, unspoken: Unspoken) -> Callable[[], None]:
        """Forbid this instance timestamps where `unspoken` says so; returns a function that undoes it."""
        raise SiteError(f"{self.name} writes no timestamps, so that a TimestampGate has nothing to govern")


def is_instance(model: Any, *names: str) -> bool:
    """A class of one of these qualified names is among the model's bases; imports nothing."""
    return any(f"{cls.__module__}.{cls.__qualname__}" in names for cls in type(model).__mro__)


TIMESTAMPS = 1501
"""Of every Whisper, from 0 to 30 s in steps of 20 ms; they are the last tokens, and "no timestamps" is before them."""
LATEST = 50
"""In such steps: decoding begins with a timestamp of at most 1 s."""


def first_text_tokens(vocabulary: int) -> range:
    """The tokens of a Whisper that come right before the first token of a text, as decoding is by default.

    Raises:
        SiteError: the vocabulary has no timestamps.
    """
    return timed_starts(vocabulary)[: LATEST + 2]


def timed_starts(vocabulary: int) -> range:
    """The same with any first timestamp, as where speech begins late.

    Raises:
        SiteError: the vocabulary has no timestamps.
    """
    if vocabulary <= TIMESTAMPS:
        raise SiteError(f"a vocabulary of {vocabulary} tokens has no timestamps, by which the start of a text is known")
    none = vocabulary - TIMESTAMPS - 1
    return range(none, vocabulary)
