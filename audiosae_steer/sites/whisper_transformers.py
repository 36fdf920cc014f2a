"""Whisper as transformers has it: `WhisperModel`, `WhisperForConditionalGeneration`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..errors import SteeringError
from .override import overridden, override
from .site import Dims, Site, is_instance

_MODULE = "transformers.models.whisper.modeling_whisper"


class WhisperTransformers:
    """Layer n is `encoder.layers[n-1]` or `decoder.layers[n-1]`."""

    name = "whisper"
    library = "transformers"

    def matches(self, model: nn.Module) -> bool:
        """By class."""
        return is_instance(model, f"{_MODULE}.WhisperModel", f"{_MODULE}.WhisperForConditionalGeneration")

    def dims(self, model: Any) -> Dims:
        """From `model.config`."""
        config = model.config
        return Dims(config.d_model, config.encoder_layers, config.decoder_layers, config.vocab_size)

    def block(self, model: Any, site: Site) -> nn.Module:
        """The layer's output: a tensor in transformers 5, a tuple that begins with it in 4."""
        block: nn.Module = getattr(_body(model), site.side).layers[site.layer - 1]
        return block

    def frame_rate(self, model: Any, site: Site) -> float | None:
        """1,500 frames for 30 s."""
        return model.config.max_source_positions / 30.0 if site.side == "encoder" else None

    def fingerprint_tensors(self, model: Any) -> list[Tensor]:
        """The same tensors as for openai-whisper, in the same order."""
        body = _body(model)
        blocks = [body.encoder.layers[0], body.encoder.layers[-1], body.decoder.layers[0], body.decoder.layers[-1]]
        stem = [body.encoder.conv1.weight, body.encoder.conv2.weight, body.encoder.layer_norm.weight]
        return [*stem, *(block.fc1.weight for block in blocks), body.decoder.layer_norm.weight]

    def allow_empty(self, model: nn.Module) -> Callable[[], None]:
        """Replace `generate` on this instance by one that permits end-of-text as the first token.

        `begin_suppress_tokens` forbids it otherwise, in the model's generation config and in a pipeline's copy of it.
        """
        if not hasattr(model, "generate"):  # a bare WhisperModel writes no text
            return lambda: None
        return override(model, "generate", _generate)


def _body(model: Any) -> Any:
    return model.model if hasattr(model, "proj_out") else model


def _generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The class's own `generate`, with no token forbidden at the beginning."""
    config = kwargs.pop("generation_config", None)
    if len(args) > 1:  # generate(input_features, generation_config, ...)
        config, args = args[1], (args[0], *args[2:])
        if len(args) > 1:
            raise SteeringError(
                "pass generate()'s arguments after generation_config by name while the model is steered"
            )
    config = copy.deepcopy(model.generation_config if config is None else config)
    config.begin_suppress_tokens = []  # not None, which transformers 5 fills in again from the model's own config
    return overridden(model, "generate")(*args, generation_config=config, **kwargs)
