"""HuBERT and its kin in transformers: wav2vec 2.0, WavLM, UniSpeech-SAT, data2vec-audio; and MERT, by its structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import SiteError
from ..sites import Call, Dims, Family, Moment, Places, Site, Tap, Watch
from ..storage import held
from .input_offset import Offset, window_places

SAMPLE_RATE = 16000


class SpeechEncoder(Family):
    """Layer n is `encoder.layers[n-1]`; in the stable variants, which normalise before each block, all the same."""

    library = "transformers"

    def __init__(self, name: str | None = None) -> None:
        self.name = name or "hubert-shaped"
        self._only = name

    def matches(self, model: nn.Module) -> bool:
        """By structure, and by the config's model type where the family has one."""
        body = _body(model)
        parts = all(isinstance(getattr(body, part, None), nn.Module) for part in ("feature_extractor", "encoder"))
        if not parts or not hasattr(body, "feature_projection") or not hasattr(body, "config"):
            return False
        layers = getattr(body.encoder, "layers", None)
        shaped = isinstance(layers, nn.ModuleList) and hasattr(body.config, "conv_stride")
        return shaped and self._only in (None, body.config.model_type)

    def dims(self, model: nn.Module) -> Dims:
        """From `model.config`; the same with and without a head."""
        config = _body(model).config
        return Dims(config.hidden_size, len(_body(model).encoder.layers), 0, 0)

    def tap(self, model: nn.Module, site: Site) -> Tap:
        """The layer's output: a tensor, or a tuple that begins with it."""
        return Tap(_body(model).encoder.layers[site.layer - 1])

    def bias_module(self, model: nn.Module, site: Site) -> nn.Module:
        """The layer norm that a block ends with; in the stable variants, the last map of its feed-forward.

        Frames of padding, which hooks leave alone, are changed as well; no other frame attends to them.
        """
        block: Any = self.tap(model, site).module
        kind = type(block).__name__
        if not kind.endswith(("EncoderLayer", "EncoderLayerStableLayerNorm")) or self._only is None:
            raise SiteError(f"what follows the last bias of a {kind} is not known, so nothing is baked into it")
        if getattr(block, "adapter_layer", None) is not None:
            raise SiteError(f"an adapter follows the last bias of {site}, and would see what is added to it")
        last: nn.Module = (
            block.feed_forward.output_dense if kind.endswith("StableLayerNorm") else block.final_layer_norm
        )
        return last

    def frame_rate(self, model: nn.Module, site: Site) -> float:
        """One frame for as many samples as the convolutions' strides multiply to: 50 a second of 16 kHz."""
        config = _body(model).config
        pooled = getattr(config, "squeeze_factor", 1)  # SEW pools before its layers
        return float(self.sample_rate(model) / math.prod(config.conv_stride) / pooled)

    def sample_rate(self, model: nn.Module) -> int:
        """16 kHz, of MERT 24 kHz."""
        return int(getattr(_body(model).config, "sample_rate", SAMPLE_RATE))

    def prepare(self, model: nn.Module, samples: NDArray[np.float32]) -> Call:
        """The model without its head; with layer norm in its convolutions, on samples of mean 0 and variance 1."""
        x = torch.from_numpy(samples)
        if getattr(_body(model).config, "feat_extract_norm", "layer") == "layer":  # as their feature extractors do
            x = (x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-7)
        weight = held(model)
        return _body(model), (x[None].to(weight.device, weight.dtype),), {}

    def watch(self, model: nn.Module, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """The mask of frames that the encoder is given, and the offset of a pipeline's chunk."""
        body, rate, timed = _body(model), self.sample_rate(model), Offset()

        def begin(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if windows and not torch.compiler.is_compiling():
                timed.seconds = timed.recording.offset(len(args[0] if args else kwargs["input_values"]), rate)
                tell(Moment(offset=timed.seconds))
            else:
                tell(Moment())

        def look(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            mask = args[1] if len(args) > 1 else kwargs.get("attention_mask")
            frames = None if mask is None or mask.dim() != 2 else mask.bool()
            if windows and not torch.compiler.is_compiling():
                tell(Moment(frames=frames, offset=timed.seconds))
            else:
                tell(Moment(frames=frames))

        return [
            body.register_forward_pre_hook(begin, with_kwargs=True).remove,
            body.encoder.register_forward_pre_hook(look, with_kwargs=True).remove,
        ]

    def window_places(self, model: nn.Module) -> Places:
        """From the loop of a pipeline."""
        return window_places(self.sample_rate(model))

    def fingerprint_tensors(self, model: nn.Module) -> list[Tensor]:
        """Of the model without its head."""
        return super().fingerprint_tensors(_body(model))


def _body(model: Any) -> Any:
    """Without the head of a `ForCTC` and the like."""
    prefix = getattr(model, "base_model_prefix", "")
    return getattr(model, prefix, model) if isinstance(prefix, str) and prefix else model


KIN = tuple(
    SpeechEncoder(name) for name in ("hubert", "wav2vec2", "wavlm", "unispeech-sat", "data2vec-audio", "mert_model")
)
SHAPED = SpeechEncoder()
"""Any other model that is built like them."""
