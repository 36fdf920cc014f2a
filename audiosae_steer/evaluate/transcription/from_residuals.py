"""Transcription from residuals that were computed once, without a second pass of the encoder below the edited layer.

An edit at encoder layer n changes nothing below it. The unsteered output of block n is kept, and whatever is steered
runs from there: the hooks on block n, the blocks after it, and Whisper's own decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.activations.capture import residuals
from ...data.audio import WINDOW, Samples
from ...errors import AudioError, SiteError, SteeringError
from ...io.files import atomic_file
from ...io.progress import track
from ...models.families.whisper_mel import Pad, mel
from ...models.registry import fingerprint
from ...steering.steering import Steering
from .decoding import LOGPROB, NO_SPEECH

BATCH = 16
"""Clips that are decoded at once."""


class Written(NamedTuple):
    """The text of the first 30 s of one clip, with what Whisper itself says of it."""

    text: str
    """With Whisper's own filters off."""
    filtered: str
    """With them on: empty if no_speech_prob > 0.6 and avg_logprob < −1."""
    no_speech_prob: float
    """Whisper's own estimate that there is no speech, 0 to 1."""
    avg_logprob: float
    """Mean log-probability of the tokens."""
    tokens: tuple[int, ...]
    """Their ids, timestamps included."""
    opened: bool | None = None
    """True if the clip gate opened; None without one."""


def encode(
    model: Any,
    clips: Sequence[Samples],
    layer: int,
    pad: Pad = "zeros",
    *,
    cache: Path | None = None,
    batch: int = 8,
    what: str = "clips",
    progress: bool = True,
) -> list[Tensor]:
    """The unsteered residuals (frames, d_model) at the output of encoder `layer`, float16, of each clip's first 30 s.

    Args:
        model: an openai-whisper model.
        clips: mono float32 samples at 16 kHz.
        layer: encoder layer, counted from 1.
        pad: padding to 30 s; see `models.families.whisper_mel.mel`.
        cache: a folder to keep them in, a file of about 1 MB for each clip; residuals found there of these very
            samples, weights, layer and padding are taken unchanged, so that an interrupted run resumes.
        batch: clips at once.
        what: name for the progress bar.
        progress: show a progress bar.

    Raises:
        AudioError: there are no clips.
        SteeringError: not an openai-whisper model, or a cache for weights that have no fingerprint.
        SiteError: there is no such layer.
    """
    _check(model, layer)
    if not len(clips):
        raise AudioError(f"there are no {what} to encode; give at least one clip")
    weights = fingerprint(model)
    if weights is None and cache is not None:
        raise SteeringError("bfloat16 weights have no fingerprint to keep their residuals under; load them in float32")
    paths = [None if cache is None else cache / f"{_key(str(weights), layer, pad, clip)}.pt" for clip in clips]
    rows: list[Tensor | None] = [torch.load(p, weights_only=True) if p and p.is_file() else None for p in paths]
    missing = [i for i, row in enumerate(rows) if row is None]
    for start in track(range(0, len(missing), batch), f"encoding {what}", progress and bool(missing)):
        chosen = missing[start : start + batch]
        found = residuals(model, [clips[i] for i in chosen], [layer], pad)[layer].half().cpu()
        for i, row in zip(chosen, found, strict=True):
            rows[i] = row.clone()
            _keep(rows[i], paths[i])
    return [row for row in rows if row is not None]


def resume(model: Any, layer: int, x: Tensor, spectrograms: Tensor | None = None) -> Tensor:
    """The encoder's output (clips, frames, d_model) from the unsteered output x of block `layer` on, hooks included.

    `spectrograms` (clips, mels, n) are what hooks on the encoder itself are shown; None: they do not run.
    """
    block = model.encoder.blocks[layer - 1]

    def rest(*args: Any, **kwargs: Any) -> Tensor:
        with _replaced(block, lambda *args, **kwargs: x):
            found = block(x)
        for later in model.encoder.blocks[layer:]:
            found = later(found)
        out: Tensor = model.encoder.ln_post(found)
        return out

    with torch.no_grad():
        if spectrograms is None:
            return rest()
        with _replaced(model.encoder, rest):
            whole: Tensor = model.encoder(spectrograms)
            return whole


def write(
    model: Any,
    rows: Sequence[Tensor],
    layer: int,
    *,
    steering: Steering | None = None,
    timestamps: bool = True,
    language: str | None = "en",
    limit: int | None = None,
    clips: Sequence[Samples] | None = None,
) -> list[Written]:
    """The texts of residuals that `encode` gave, by the model, steered or not: greedy, each clip's first 30 s.

    Only hooks at `layer` and later run, and those on the encoder itself. The texts are those of `model.decode`.

    Args:
        model: an openai-whisper model.
        rows: residuals (frames, d_model) at the output of encoder `layer`.
        layer: encoder layer, counted from 1.
        steering: what steers the model, to tell whether its clip gate opened.
        timestamps: decode with timestamps, as `whisper.transcribe` does by default.
        language: code; None lets a multilingual model detect it.
        limit: most tokens to write for a clip; Whisper's own limit is 224.
        clips: the samples of each, of which a timestamp gate is told what fills their windows up; without them that
            counts as a gap.

    Raises:
        SteeringError: not an openai-whisper model.
        SiteError: there is no such layer, or something is steered before it.
    """
    from whisper.decoding import DecodingOptions

    _check(model, layer)
    if any(block._forward_hooks for block in model.encoder.blocks[: layer - 1]):
        raise SiteError(f"an encoder layer below {layer} is steered, which residuals of layer {layer} do not show")
    weight = model.encoder.ln_post.weight
    options = DecodingOptions(
        language=language if model.is_multilingual else "en",
        temperature=0.0,
        without_timestamps=not timestamps,
        sample_len=limit,
        fp16=weight.dtype == torch.float16,
    )
    found: list[Written] = []
    told = clips is not None and bool(model.encoder._forward_pre_hooks)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        x = torch.stack(list(rows[part])).to(weight.device, weight.dtype)
        # padded as `whisper.transcribe` does, whose timestamps these are
        encoded = resume(model, layer, x, mel(model, clips[part], "zeros") if told and clips is not None else None)
        opened = None if steering is None else steering.opened
        with _pruned(model, steering):
            results = model.decode(encoded, options)
        found += [_written(result, None if opened is None else bool(opened[i])) for i, result in enumerate(results)]
    return found


def _written(result: Any, opened: bool | None) -> Written:
    """A `whisper.DecodingResult` without and with Whisper's filters."""
    drop = result.no_speech_prob > NO_SPEECH and result.avg_logprob < LOGPROB
    text = result.text.strip()
    filtered = "" if drop else text
    return Written(text, filtered, result.no_speech_prob, result.avg_logprob, tuple(result.tokens), opened)


@contextmanager
def _replaced(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Run `forward` in place of the module's own, hooks and all, for the length of a block."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


@contextmanager
def _pruned(model: Any, steering: Steering | None) -> Iterator[None]:
    """Leave clips whose text has ended out of the decoder's work: one that loops no longer holds up a whole batch."""
    decoder = model.decoder
    if steering is None and any(block._forward_hooks for block in decoder.blocks):
        yield  # hooks of another program, which may know each row by its place
        return
    from whisper.tokenizer import get_tokenizer

    eot = get_tokenizer(model.is_multilingual, num_languages=model.num_languages).eot
    own = decoder.forward
    live = torch.zeros(0, dtype=torch.long)
    width = model.dims.n_vocab

    def forward(tokens: Tensor, xa: Tensor, kv_cache: dict[Any, Tensor] | None = None) -> Tensor:
        nonlocal live
        if tokens.shape[1] > 1 or not kv_cache:
            live = torch.arange(len(tokens), device=tokens.device)
            first: Tensor = own(tokens, xa, kv_cache=kv_cache)
            return first
        going = tokens[live, 0] != eot
        if not going.all():
            live = live[going]
            for module, kept in kv_cache.items():
                kv_cache[module] = kept[going]
        out = tokens.new_zeros((len(tokens), 1, width), dtype=torch.float32)
        if len(live):
            with nullcontext() if steering is None else steering.of_rows(live):
                out[live] = own(tokens[live], xa[live], kv_cache=kv_cache)
        return out

    with _replaced(decoder, forward):
        yield


def _check(model: Any, layer: int) -> None:
    if not hasattr(model, "dims"):
        raise SteeringError("this needs an openai-whisper model: load_whisper(..., library='openai')")
    if not 1 <= layer <= model.dims.n_audio_layer:
        raise SiteError(f"there is no encoder layer {layer}: this model has layers 1 to {model.dims.n_audio_layer}")


def _keep(row: Tensor | None, path: Path | None) -> None:
    if path is not None:
        with atomic_file(path) as part:  # two runs may share a cache
            torch.save(row, part)


def _key(weights: str, layer: int, pad: Pad, clip: Samples) -> str:
    digest = hashlib.sha256(f"{weights} {layer} {pad}".encode())
    digest.update(np.ascontiguousarray(clip[:WINDOW], dtype=np.float32).tobytes())
    return digest.hexdigest()[:24]
