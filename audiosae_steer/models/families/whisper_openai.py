"""Whisper as openai-whisper has it: `whisper.model.Whisper`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..sites import Call, Carry, Dims, Door, Family, Places, Site, Tap, Unspoken, Watch, first_text_tokens, is_instance
from .empty_text import allow
from .encodings import carry_encodings
from .input_offset import SAMPLE_RATE, watch_windows, window_places
from .timestamps import limit
from .whisper_decoding_task import cover_tasks
from .whisper_mel import mel


class WhisperOpenAI(Family):
    """Layer n is `encoder.blocks[n-1]` or `decoder.blocks[n-1]`."""

    name = "whisper"
    library = "openai-whisper"

    def matches(self, model: nn.Module) -> bool:
        """By class."""
        return is_instance(model, "whisper.model.Whisper")

    def dims(self, model: Any) -> Dims:
        """From `model.dims`."""
        dims = model.dims
        return Dims(dims.n_audio_state, dims.n_audio_layer, dims.n_text_layer, dims.n_vocab)

    def tap(self, model: Any, site: Site) -> Tap:
        """The residual block itself returns the residual."""
        return Tap(getattr(model, site.side).blocks[site.layer - 1])

    def bias_module(self, model: Any, site: Site) -> nn.Module:
        """The block's last map, whose output is added to the residual."""
        block: Any = self.tap(model, site).module
        last: nn.Module = block.mlp[2]
        return last

    def frame_rate(self, model: Any, site: Site) -> float | None:
        """1,500 frames for 30 s."""
        return model.dims.n_audio_ctx / 30.0 if site.side == "encoder" else None

    takes_windows = True

    def sample_rate(self, model: Any) -> int:
        """16 kHz."""
        return SAMPLE_RATE

    def prepare(self, model: Any, samples: NDArray[np.float32]) -> Call:
        """The encoder, on a spectrogram of 30 s."""
        return model.encoder, (mel(model, [samples]),), {}

    def watch(self, model: Any, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """The offset of the window of 30 s in its recording, and what fills it up."""
        return [watch_windows(model.encoder, tell)] if windows else []

    def window_places(self, model: Any) -> Places:
        """From the loop of `whisper.transcribe`."""
        return window_places()

    def carry(self, model: Any, encoded: Carry, decodes: Carry) -> list[Callable[[], None]]:
        """From the encoder's last norm to the decoder."""
        return carry_encodings(model.encoder.ln_post, model.decoder, "xa", encoded, decodes)

    def fingerprint_tensors(self, model: Any) -> list[Tensor]:
        """The stem, and the first and last block of each side."""
        blocks = [model.encoder.blocks[0], model.encoder.blocks[-1], model.decoder.blocks[0], model.decoder.blocks[-1]]
        stem = [model.encoder.conv1.weight, model.encoder.conv2.weight, model.encoder.ln_post.weight]
        return [*stem, *(block.mlp[0].weight for block in blocks), model.decoder.ln.weight]

    def text_start(self, model: Any) -> tuple[nn.Module, range]:
        """After "no timestamps", or after a first timestamp: one up to 1 s, the latest that decoding begins with."""
        return model.decoder.token_embedding, first_text_tokens(self.dims(model).vocabulary)

    def allow_empty(self, model: nn.Module, door: Door) -> Callable[[], None]:
        """Permit end-of-text as the first token where `door` does, in every `DecodingTask` of this model.

        `SuppressBlank` forbids it otherwise, and `MaximumLikelihoodRanker` divides by the length of the text.
        """
        return allow(model, door, cover_tasks(model))

    def limit_timestamps(self, model: nn.Module, unspoken: Unspoken) -> Callable[[], None]:
        """In every `DecodingTask` of this model."""
        return limit(model, unspoken, cover_tasks(model))
