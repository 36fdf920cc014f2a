"""Sound of latents: decoders of codecs as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SiteError
from ...models.families.codec import Codec
from ...models.registry import family_of, unwrap
from ...models.storage import held

Decode = Callable[[Tensor], NDArray[np.float64]]
"""From latents (frames, d) to mono samples (n,)."""


class Decoder(NamedTuple):
    """Decoder of latents to sound."""

    decode: Decode
    rate: int
    """Hz of its samples."""


def codec_decoder(model: Any, side: Literal["encoder", "decoder"] = "decoder") -> Decoder:
    """Decoder of a codec's latents, for `control_report`; several channels are averaged.

    Args:
        model: a WavTokenizer, or an EnCodec of transformers or of the package `encodec` that reads a clip whole.
        side: `decoder` takes the latents as they go into the decoder; `encoder` quantizes them first, so that an edit
            has to change codes to be heard.

    Raises:
        SiteError: the model is no such codec.
    """
    inner: Any = unwrap(model)
    family = family_of(inner)
    if not isinstance(family, Codec) or family.in_chunks(inner):
        raise SiteError(f"codec_decoder() takes a codec that reads a clip whole, not a {type(inner).__name__}")

    def decode(latents: Tensor) -> NDArray[np.float64]:
        weight = held(inner)
        with torch.no_grad():
            made = family.decode_latents(inner, latents.T[None].to(weight.device, weight.dtype), side)
            sound: NDArray[np.float64] = made[0].mean(0).double().cpu().numpy()
        return sound

    return Decoder(decode, family.sample_rate(inner))
