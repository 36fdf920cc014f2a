"""EnCodec, of transformers and of the package `encodec`: the latents before the quantizer, and those of given codes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SiteError
from ..sites import Call, Carry, Dims, Moment, Site, Tap, Watch, is_instance
from ..storage import held
from .call_marks import mark_of, under_way
from .codec import Codec
from .method_override import overridden, override

_CARRIED = "_audiosae_steer_carried"


class EnCodec(Codec):
    """Encoder layer 1 is what goes into the quantizer, decoder layer 1 what comes from it and goes into the decoder.

    An edit of the first changes the codes; of the second, the sound that given codes make. Channels first.
    """

    name = "encodec"
    library = "transformers, encodec"

    def matches(self, model: nn.Module) -> bool:
        """By class."""
        return is_instance(
            model, "transformers.models.encodec.modeling_encodec.EncodecModel", "encodec.model.EncodecModel"
        )

    def dims(self, model: Any) -> Dims:
        """One layer a side."""
        config = getattr(model, "config", None)
        return Dims(config.hidden_size if config is not None else model.encoder.dimension, 1, 1, 0)

    def tap(self, model: Any, site: Site) -> Tap:
        """The encoder's output, or the decoder's input."""
        if site.side == "encoder":
            return Tap(model.encoder, layout="bdf")
        return Tap(model.decoder, "input", layout="bdf")

    def bias_module(self, model: Any, site: Site) -> nn.Module:
        """Refused: the latents come out of a convolution, and before the quantizer, from a codebook, after it."""
        follows = "a normalised convolution gives it" if site.side == "encoder" else "it is read from the codebooks"
        raise SiteError(f"no bias reaches {site} of EnCodec unchanged: {follows}")

    def frame_rate(self, model: Any, site: Site) -> float:
        """75 latents a second of 24 kHz, 150 of 48 kHz."""
        config = getattr(model, "config", None)
        if config is not None:
            return float(config.sampling_rate / math.prod(config.upsampling_ratios))
        return float(model.sample_rate / math.prod(model.encoder.ratios))

    def sample_rate(self, model: Any) -> int:
        """24 or 48 kHz."""
        config = getattr(model, "config", None)
        return int(model.sample_rate if config is None else config.sampling_rate)

    def prepare(self, model: Any, samples: NDArray[np.float32]) -> Call:
        """The whole codec; a mono clip on as many channels as it takes."""
        weight = held(model)
        wav = functional.pad(torch.from_numpy(samples), (0, _missing(model, len(samples))))
        wav = wav.to(weight.device, weight.dtype)
        return model, (wav.expand(1, self.channels(model), -1),), {}

    def channels(self, model: Any) -> int:
        """One, or two of 48 kHz."""
        config = getattr(model, "config", None)
        return int(model.channels if config is None else config.audio_channels)

    def bandwidths(self, model: Any) -> Sequence[float]:
        """As it was trained: each takes so many of its codebooks."""
        config = getattr(model, "config", None)
        return list(model.target_bandwidths if config is None else config.target_bandwidths)

    def round_trip(self, model: Any, wav: Tensor, bandwidth: float | None) -> Tensor:
        """The model's forward, on sound that is long enough for its chunks; its bandwidth stays what it was."""
        given = functional.pad(wav, (0, _missing(model, wav.shape[-1])))
        if hasattr(model, "config"):
            made: Tensor = model(given, bandwidth=bandwidth).audio_values
            return made
        before = model.bandwidth
        try:
            model.bandwidth = before if bandwidth is None else bandwidth
            sound: Tensor = model(given)
        finally:
            model.bandwidth = before
        return sound

    def decode_latents(self, model: Any, latents: Tensor, side: str) -> Tensor:
        """By its decoder, as its `decode` has it of one chunk."""
        if side == "encoder":
            # the package's quantizer is told the frame rate as well
            at = (
                (model.config.target_bandwidths[0],)
                if hasattr(model, "config")
                else (model.frame_rate, model.bandwidth)
            )
            latents = model.quantizer.decode(model.quantizer.encode(latents, *at))
        made: Tensor = model.decoder(latents)
        return made

    def in_chunks(self, model: Any) -> bool:
        """The 48 kHz model does."""
        return _stride(model) > 0

    def carry(self, model: Any, encoded: Carry, decodes: Carry) -> list[Callable[[], None]]:
        """The codes, from `encode` to `decode`."""
        listed: list[tuple[Carry, Carry]] = vars(model).setdefault(_CARRIED, [])
        entry = (encoded, decodes)
        listed.append(entry)

        def close() -> None:
            listed.remove(entry)
            if not listed:
                vars(model).pop(_CARRIED, None)

        return [override(model, "encode", _encode), override(model, "decode", _decode), close]

    def watch(self, model: Any, tell: Watch, *, windows: bool) -> list[Callable[[], None]]:
        """The offset of each chunk: the 48 kHz model takes audio in chunks of a second."""
        if not windows or not self.in_chunks(model):
            return []
        closers = [override(model, "encode", _encode), override(model, "decode", _decode)]
        closers += [
            part.register_forward_pre_hook(_counting(_stride(model), tell)).remove
            for part in (model.encoder, model.decoder)
        ]
        return closers


class _Chunk(threading.local):
    """The chunk that a thread has come to in its call of `encode` or `decode`."""

    call: Any = None
    chunk = 0


def _counting(stride: float, tell: Watch) -> Callable[[Any, Any], None]:
    at = _Chunk()

    def count(module: Any, args: Any) -> None:
        call = mark_of(module)
        at.chunk = at.chunk + 1 if call is not None and call is at.call else 0
        at.call = call
        tell(Moment(offset=at.chunk * stride))

    return count


def _stride(model: Any) -> float:
    """Seconds from one chunk to the next; 0 where there is one chunk."""
    config = getattr(model, "config", None)
    samples = model.segment_stride if config is None else config.chunk_stride
    rate = model.sample_rate if config is None else config.sampling_rate
    return 0.0 if samples is None else samples / rate


def _missing(model: Any, length: int) -> int:
    """Samples to append to audio of that length, so that transformers can stack its chunks and overlap them.

    Where the last chunk is shorter than what chunks overlap by, it fails.
    """
    config = getattr(model, "config", None)
    if config is None or config.chunk_length is None:
        return 0
    hop, stride, chunk = math.prod(config.upsampling_ratios), int(config.chunk_stride), int(config.chunk_length)
    last = (length - 1) // stride
    least = hop * (math.ceil((chunk - stride) / hop) - 1) + 1
    return max(0, last * stride + least - length) if last > 0 else 0


def _encode(model: Any, *args: Any, **kwargs: Any) -> Any:
    with under_way(model.encoder):
        made = overridden(model, "encode")(*args, **kwargs)
    for encoded, _ in vars(model).get(_CARRIED, ()):
        encoded(_codes(made))
    return made


def _decode(model: Any, *args: Any, **kwargs: Any) -> Any:
    given = args[0] if args else kwargs.get("audio_codes", kwargs.get("encoded_frames"))
    for _, decodes in vars(model).get(_CARRIED, ()):
        decodes(_codes(given))
    with under_way(model.decoder):
        return overridden(model, "decode")(*args, **kwargs)


def _codes(made: Any) -> Tensor:
    """Codes (clips, frames, codebooks) of what `encode` gives and `decode` takes, of one chunk."""
    codes = made if isinstance(made, Tensor) else made[0]
    codes = codes[0] if isinstance(codes, tuple) else codes  # the package's frame is (codes, scale)
    codes = codes[0] if codes.dim() == 4 else codes  # transformers' are of several chunks
    return codes.transpose(1, 2)
