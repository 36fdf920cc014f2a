"""AST in transformers: a spectrogram in patches, band by band."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..sites import Call, Dims, Family, Site, Tap, is_instance
from ..storage import held

_MODULE = "transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer"
PREFIX = 2
"""Tokens before the patches, of the whole clip: they are at no time."""
FRAMES_PER_SECOND = 100
"""Of the spectrogram."""


class AST(Family):
    """Layer n is the output of the n-th block: two tokens, then a row of patches in time for each band."""

    name = "ast"
    library = "transformers"

    def matches(self, model: nn.Module) -> bool:
        """By class."""
        return is_instance(model, f"{_MODULE}.ASTModel", f"{_MODULE}.ASTForAudioClassification")

    def dims(self, model: nn.Module) -> Dims:
        """From `model.config`."""
        return Dims(_body(model).config.hidden_size, len(_layers(model)), 0, 0)

    def tap(self, model: nn.Module, site: Site) -> Tap:
        """The layer's output; a patch is at the time of its middle."""
        config = _body(model).config
        row = (config.max_length - config.patch_size) // config.time_stride + 1

        def times(frames: int, device: torch.device) -> Tensor:
            place = torch.arange(frames, device=device) - PREFIX
            middle = (place % row * config.time_stride + config.patch_size / 2) / FRAMES_PER_SECOND
            return torch.where(place < 0, -torch.inf, middle)

        return Tap(_layers(model)[site.layer - 1], times=times)

    def bias_module(self, model: nn.Module, site: Site) -> nn.Module:
        """The block's last map, whose output is added to the residual."""
        block: Any = self.tap(model, site).module
        last: nn.Module = block.mlp.fc2 if hasattr(block, "mlp") else block.output.dense  # transformers 5, and 4
        return last

    def sample_rate(self, model: nn.Module) -> int:
        """16 kHz."""
        return 16000

    def prepare(self, model: nn.Module, samples: NDArray[np.float32]) -> Call:
        """The model, on the spectrogram that its feature extractor makes, of as many seconds as it takes."""
        from transformers import ASTFeatureExtractor

        config = _body(model).config
        extract: Any = ASTFeatureExtractor
        extract = extract(num_mel_bins=config.num_mel_bins, max_length=config.max_length)
        weight = held(model)
        features = extract(samples, sampling_rate=16000, return_tensors="pt").input_values
        return model, (features.to(weight.device, weight.dtype),), {}

    def max_seconds(self, model: nn.Module) -> float:
        """As many seconds as its spectrogram holds."""
        return float(_body(model).config.max_length / FRAMES_PER_SECOND)

    def frame_rate(self, model: nn.Module, site: Site) -> float:
        """Patches a second in one band: 10, each 0.16 s long."""
        return float(FRAMES_PER_SECOND / _body(model).config.time_stride)


def _body(model: Any) -> Any:
    return getattr(model, "audio_spectrogram_transformer", model)


def _layers(model: Any) -> Any:
    body = _body(model)
    return body.layers if hasattr(body, "layers") else body.encoder.layer  # transformers 5, and 4
