"""Whisper as transformers has it: `WhisperModel`, `WhisperForConditionalGeneration`."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import SteeringError
from ..sites import (
    Call,
    Carry,
    Dims,
    Door,
    Family,
    Places,
    Site,
    Tap,
    Unspoken,
    Watch,
    first_text_tokens,
    is_instance,
    timed_starts,
)
from .empty_text import EmptyTextRule, allow, shut
from .encodings import carry_encodings
from .input_offset import SAMPLE_RATE, watch_windows, window_places
from .method_override import overridden, override
from .timestamps import TimestampMask, limit
from .whisper_mel import mel

_MODULE = "transformers.models.whisper.modeling_whisper"


class WhisperTransformers(Family):
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

    def tap(self, model: Any, site: Site) -> Tap:
        """The layer's output: a tensor in transformers 5, a tuple that begins with it in 4."""
        return Tap(getattr(_body(model), site.side).layers[site.layer - 1])

    def bias_module(self, model: Any, site: Site) -> nn.Module:
        """The block's last map, whose output is added to the residual."""
        block: Any = self.tap(model, site).module
        last: nn.Module = block.fc2
        return last

    def frame_rate(self, model: Any, site: Site) -> float | None:
        """1,500 frames for 30 s."""
        return model.config.max_source_positions / 30.0 if site.side == "encoder" else None

    takes_windows = True

    def sample_rate(self, model: Any) -> int:
        """16 kHz."""
        return SAMPLE_RATE

    def prepare(self, model: Any, samples: NDArray[np.float32]) -> Call:
        """The encoder, on a spectrogram of 30 s."""
        return _body(model).encoder, (mel(model, [samples]),), {}

    def watch(self, model: Any, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """The offset of the window of 30 s in its recording, and what fills it up."""
        return [watch_windows(_body(model).encoder, tell)] if windows else []

    def window_places(self, model: Any) -> Places:
        """From the loops of `generate` and of a pipeline."""
        return window_places()

    def carry(self, model: Any, encoded: Carry, decodes: Carry) -> list[Callable[[], None]]:
        """From the encoder's last norm to the decoder."""
        if not hasattr(_body(model), "decoder"):
            return []
        return carry_encodings(
            _body(model).encoder.layer_norm, _body(model).decoder, "encoder_hidden_states", encoded, decodes
        )

    def fingerprint_tensors(self, model: Any) -> list[Tensor]:
        """The same tensors as for openai-whisper, in the same order."""
        body = _body(model)
        blocks = [body.encoder.layers[0], body.encoder.layers[-1], body.decoder.layers[0], body.decoder.layers[-1]]
        stem = [body.encoder.conv1.weight, body.encoder.conv2.weight, body.encoder.layer_norm.weight]
        return [*stem, *(block.fc1.weight for block in blocks), body.decoder.layer_norm.weight]

    def text_start(self, model: Any) -> tuple[nn.Module, range]:
        """After "no timestamps", or after a first timestamp: one up to 1 s, the latest that decoding begins with."""
        return _body(model).decoder.embed_tokens, first_text_tokens(self.dims(model).vocabulary)

    def allow_empty(self, model: nn.Module, door: Door) -> Callable[[], None]:
        """Replace `generate` on this instance by one that permits end-of-text as the first token where `door` does.

        `begin_suppress_tokens` forbids it otherwise, in the model's generation config and in a pipeline's copy of it.
        """
        if not hasattr(model, "generate"):  # a bare WhisperModel writes no text
            return lambda: None
        counted = _body(model).encoder.register_forward_hook(_count).remove
        return allow(model, door, override(model, "generate", _generate), counted)

    def limit_timestamps(self, model: nn.Module, unspoken: Unspoken) -> Callable[[], None]:
        """Add a logits processor to those that this instance's `generate` makes for timestamps."""
        if not hasattr(model, "_retrieve_logit_processors"):  # a bare WhisperModel writes no text
            return lambda: None
        return limit(model, unspoken, override(model, "_retrieve_logit_processors", _processors))


def _body(model: Any) -> Any:
    return model.model if hasattr(model, "proj_out") else model


def _generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The class's own `generate`, with end-of-text forbidden at the beginning only where a text must not be empty."""
    from transformers import LogitsProcessorList

    config = kwargs.pop("generation_config", None)
    if len(args) > 1:  # generate(input_features, generation_config, ...)
        config, args = args[1], (args[0], *args[2:])
        if len(args) > 1:
            raise SteeringError(
                "pass generate()'s arguments after generation_config by name while the model is steered"
            )
    config = copy.deepcopy(model.generation_config if config is None else config)
    suppressed = kwargs.pop("begin_suppress_tokens", config.begin_suppress_tokens)
    if suppressed is None:  # which transformers 5 fills in from the model's own config
        suppressed = model.generation_config.begin_suppress_tokens or []
    end = config.eos_token_id if isinstance(config.eos_token_id, int) else model.config.eos_token_id
    config.begin_suppress_tokens = [token for token in suppressed if token != end]
    beams = kwargs.get("num_beams") or config.num_beams or 1
    rules: list[_Rule] = [_Shut(model, end)] if end in suppressed else []
    if beams > 1 or _samples(config, kwargs):  # a greedy search ends by itself
        rules.append(_Ending(model, end, beams))
    kwargs["logits_processor"] = LogitsProcessorList([*(kwargs.get("logits_processor") or ()), *rules])
    given = kwargs.get("encoder_outputs")
    _batch.clips = None if given is None else len(given if isinstance(given, Tensor) else given[0])
    return overridden(model, "generate")(*args, generation_config=config, **kwargs)


def _samples(config: Any, options: dict[str, Any]) -> bool:
    """A token may be drawn, at once or after a fallback."""
    temperature = options.get("temperature", config.temperature)
    drawn = any(each for each in temperature) if isinstance(temperature, (list, tuple)) else False
    return drawn or bool(options.get("do_sample", config.do_sample))


def _processors(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The class's own logits processors, with the mask of timestamps before those that compare them with text."""
    from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

    found = overridden(model, "_retrieve_logit_processors")(*args, **kwargs)
    for number, each in enumerate(found or ()):
        if isinstance(each, WhisperTimeStampLogitsProcessor):
            mask = TimestampMask(model, each.timestamp_begin, each.eos_token_id, each.max_initial_timestamp_index)
            each.max_initial_timestamp_index = None  # the mask has it
            found.insert(number, _Timestamps(mask, each.begin_index))
            break
    return found


class _Batch(threading.local):
    """Clips that a thread has encoded last."""

    clips: int | None = None


_batch = _Batch()


def _count(module: nn.Module, args: Any, output: Any) -> None:
    if not torch.compiler.is_compiling():
        _batch.clips = len(output[0])


class _Rule:
    """A logits processor that knows where the prompt ends."""

    begin: int | None = None

    def set_begin_index(self, begin: int) -> None:
        """Called by Whisper's `generate` for every window: the prompt's length."""
        self.begin = begin

    def begins(self, input_ids: Tensor) -> int:
        """The prompt's length."""
        if self.begin is None:
            self.begin = input_ids.shape[1]
        return self.begin


class _Shut(_Rule):
    """No end of text as the first token where a text must not be empty."""

    def __init__(self, model: nn.Module, end: int) -> None:
        self.model, self.end = model, end

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] != self.begins(input_ids):
            return scores
        forbidden = shut(self.model, len(scores), scores.device)
        scores = scores.clone()
        scores[:, self.end] = scores[:, self.end].masked_fill(forbidden, -math.inf)
        return scores


class _Ending(_Rule):
    """`EmptyTextRule`."""

    def __init__(self, model: Any, end: int, beams: int) -> None:
        self.beams = beams
        self.rule = EmptyTextRule(model, end, timed_starts(model.config.vocab_size))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        clips = _batch.clips  # after a fallback there are no beams
        group = self.beams if clips is None or len(scores) == clips * self.beams else max(len(scores) // clips, 1)
        if len(scores) % group:
            group = 1
        mask = self.rule.mask(scores, input_ids, self.begins(input_ids), group)
        return scores if mask is None else scores.masked_fill(mask & self.rule.others(scores), -math.inf)


class _Timestamps(_Rule):
    """`TimestampMask`."""

    def __init__(self, mask: TimestampMask, begin: int) -> None:
        self.mask, self.begin = mask, begin

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        self.mask.fill(scores, input_ids, self.begins(input_ids))
        return scores
