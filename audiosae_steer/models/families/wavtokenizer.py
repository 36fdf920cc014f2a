"""WavTokenizer (github jishengpeng/WavTokenizer): latents on both sides of its codebook, and its blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import SiteError
from ..sites import Call, Carry, Dims, Site, Tap
from ..storage import held
from .codec import Codec
from .method_override import overridden, override

_CARRIED = "_audiosae_steer_carried"
_PARTS = ("feature_extractor", "backbone", "head")


class WavTokenizer(Codec):
    """Encoder layer 1 is what goes into the quantizer, decoder layer 1 the quantized latents that the backbone reads.

    Decoder layer n + 1 is the output of the backbone's n-th ConvNeXt block. The decoder inside `encodec`, which the
    released models carry along, never runs. All channels first.
    """

    name = "wavtokenizer"
    library = "jishengpeng/WavTokenizer"

    def matches(self, model: nn.Module) -> bool:
        """By its class's name and its three parts: the repository is no package, and its modules are `decoder`'s."""
        return (
            any(cls.__name__ == "WavTokenizer" for cls in type(model).__mro__)
            and all(isinstance(getattr(model, part, None), nn.Module) for part in _PARTS)
            and isinstance(getattr(model.feature_extractor, "encodec", None), nn.Module)
            and isinstance(getattr(model.backbone, "convnext", None), nn.ModuleList)
        )

    def dims(self, model: Any) -> Dims:
        """Width of the latents; one layer before the quantizer, one after it and one for each block."""
        return Dims(model.backbone.input_channels, 1, 1 + len(model.backbone.convnext), 0)

    def tap(self, model: Any, site: Site) -> Tap:
        """The encoder's output, the backbone's input, or a block's output, which is wider."""
        if site.side == "encoder":
            return Tap(_encodec(model).encoder, layout="bdf")
        if site.layer == 1:
            return Tap(model.backbone, "input", layout="bdf")
        block = model.backbone.convnext[site.layer - 2]
        return Tap(block, layout="bdf", size=model.backbone.embed.out_channels)

    def bias_module(self, model: Any, site: Site) -> nn.Module:
        """Refused: no bias goes as it is into the latents, nor into what a block gives."""
        follows = "a normalised convolution gives it" if site.side == "encoder" else "it is read from the codebook"
        if site.side == "decoder" and site.layer > 1:
            follows = "a ConvNeXt block scales its last bias, channel by channel"
        raise SiteError(f"no bias reaches {site} of WavTokenizer unchanged: {follows}")

    def frame_rate(self, model: Any, site: Site) -> float:
        """Of the encoder's strides: 75 a second with 8, 5, 4, 2, and 40 with 6, 5, 5, 4.

        `feature_extractor.frame_rate` says 25 in all of them, and is only told to the quantizer.
        """
        encodec = _encodec(model)
        return float(encodec.sample_rate / math.prod(int(ratio) for ratio in encodec.encoder.ratios))

    def sample_rate(self, model: Any) -> int:
        """24 kHz."""
        return int(_encodec(model).sample_rate)

    def channels(self, model: Any) -> int:
        """One."""
        return int(_encodec(model).channels)

    def bandwidths(self, model: nn.Module) -> Sequence[float]:
        """None to choose from: there is one codebook."""
        return ()

    def round_trip(self, model: Any, wav: Tensor, bandwidth: float | None) -> Tensor:
        """By `encode_infer` and `decode`, as its own documentation has it; both run in inference mode."""
        features, _ = model.encode_infer(wav[:, 0], **_given(wav.device))
        made: Tensor = model.decode(features, **_given(wav.device))
        return made[:, None]

    def decode_latents(self, model: Any, latents: Tensor, side: str) -> Tensor:
        """By `decode`, of the codebook's entries."""
        if side == "encoder":
            own = model.feature_extractor  # as its `infer` calls it
            latents = own.encodec.quantizer.infer(latents, own.frame_rate, bandwidth=own.bandwidths[0]).quantized
        made: Tensor = model.decode(latents, **_given(latents.device))
        return made[:, None]

    def prepare(self, model: Any, samples: NDArray[np.float32]) -> Call:
        """The whole codec."""
        weight = held(model)
        wav = torch.from_numpy(samples).to(weight.device, weight.dtype)
        return model, (wav[None],), _given(weight.device)

    def carry(self, model: Any, encoded: Carry, decodes: Carry) -> list[Callable[[], None]]:
        """The quantized latents, from the codebook to `decode`: `codes_to_features` looks up the same."""
        listed: list[Carry] = vars(model).setdefault(_CARRIED, [])
        listed.append(decodes)

        def close() -> None:
            listed.remove(decodes)
            if not listed:
                vars(model).pop(_CARRIED, None)

        def quantized(module: nn.Module, args: Any, output: Any) -> None:
            encoded(output[0].transpose(1, 2))

        # the quantizer itself is not called but by `infer`, past which no hook comes
        left = _encodec(model).quantizer.vq.register_forward_hook(quantized).remove
        return [left, override(model, "decode", _decode), close]


def _encodec(model: Any) -> Any:
    return model.feature_extractor.encodec


def _given(device: torch.device) -> dict[str, Any]:
    """The argument that every call needs, as its README passes it: an entry of the backbone's conditional norms."""
    return {"bandwidth_id": torch.zeros(1, dtype=torch.long, device=device)}


def _decode(model: Any, *args: Any, **kwargs: Any) -> Any:
    given = args[0] if args else kwargs.get("features_input")
    for decodes in vars(model).get(_CARRIED, ()):
        if isinstance(given, Tensor):
            decodes(given.transpose(1, 2))
    return overridden(model, "decode")(*args, **kwargs)
