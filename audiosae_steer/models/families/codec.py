"""Codecs: models that make sound of sound by way of codes, with latents before the quantizer and after it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from ..sites import Family


class Codec(Family):
    """A family whose encoder layer 1 goes into the quantizer, and whose decoder layer 1 comes from it.

    An edit of the first changes the codes; of the second, the sound that given codes make.
    """

    @abstractmethod
    def channels(self, model: nn.Module) -> int:
        """Channels of the sound that it takes."""

    @abstractmethod
    def bandwidths(self, model: nn.Module) -> Sequence[float]:
        """The kbit/s that it can be set to."""

    @abstractmethod
    def round_trip(self, model: nn.Module, wav: Tensor, bandwidth: float | None) -> Tensor:
        """Sound (batch, channels, samples or more) of sound (batch, channels, samples), in weights' dtype and place.

        `bandwidth` is one of `bandwidths`; None: the model's own.
        """

    @abstractmethod
    def decode_latents(self, model: nn.Module, latents: Tensor, side: str) -> Tensor:
        """Sound (batch, channels, samples) of latents (batch, d, frames), in weights' dtype and place.

        Those of `side` encoder go through the quantizer first, at the model's own bandwidth.
        """

    def in_chunks(self, model: nn.Module) -> bool:
        """True of a model that takes long sound in chunks, so that a clip's latents are no single run of frames."""
        return False
