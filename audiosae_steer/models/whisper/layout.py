"""Names and shapes of a Whisper's tensors: one table for every library and file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

from ...errors import ModelError

Shape = tuple[int, ...]


def sizes(state: Mapping[str, Tensor], heads: tuple[int, int], source: str) -> dict[str, int]:
    """openai-whisper's `ModelDimensions`, by name, read off the tensors.

    Args:
        state: tensors under openai-whisper's names.
        heads: attention heads of the encoder and of the decoder; 0: one for each 64 units, as in every released model.
        source: what the tensors came from, for the messages.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape than the rest of the model asks for.
    """
    strange = [name for name, tensor in state.items() if not isinstance(tensor, Tensor)]
    if strange:
        raise ModelError(f"{source} holds {strange[0]!r}, which is no tensor; it is no Whisper checkpoint")
    audio = _shape(state, "encoder.positional_embedding", 2, source)
    text = _shape(state, "decoder.positional_embedding", 2, source)
    dims = {
        "n_mels": _shape(state, "encoder.conv1.weight", 3, source)[1],
        "n_audio_ctx": audio[0],
        "n_audio_state": audio[1],
        "n_audio_head": heads[0] or audio[1] // 64,
        "n_audio_layer": _layers(state, "encoder", source),
        "n_vocab": _shape(state, "decoder.token_embedding.weight", 2, source)[0],
        "n_text_ctx": text[0],
        "n_text_state": text[1],
        "n_text_head": heads[1] or text[1] // 64,
        "n_text_layer": _layers(state, "decoder", source),
    }
    for side in ("audio", "text"):
        width, count = dims[f"n_{side}_state"], dims[f"n_{side}_head"]
        if count < 1 or width % count:
            raise ModelError(f"{source} has {count} attention heads for a width of {width}; that cannot be divided")
    _check(state, dict(tensors(dims)), source)
    return dims


def tensors(dims: Mapping[str, int]) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor of a Whisper of these dimensions, under openai-whisper's names."""
    yield "encoder.conv1.weight", (dims["n_audio_state"], dims["n_mels"], 3)
    yield "encoder.conv1.bias", (dims["n_audio_state"],)
    yield "encoder.conv2.weight", (dims["n_audio_state"], dims["n_audio_state"], 3)
    yield "encoder.conv2.bias", (dims["n_audio_state"],)
    yield "encoder.positional_embedding", (dims["n_audio_ctx"], dims["n_audio_state"])
    yield "decoder.positional_embedding", (dims["n_text_ctx"], dims["n_text_state"])
    yield "decoder.token_embedding.weight", (dims["n_vocab"], dims["n_text_state"])
    for layer in range(dims["n_audio_layer"]):
        yield from _block(f"encoder.blocks.{layer}", dims["n_audio_state"], ("attn",))
    for layer in range(dims["n_text_layer"]):
        yield from _block(f"decoder.blocks.{layer}", dims["n_text_state"], ("attn", "cross_attn"))
    yield from _norm("encoder.ln_post", dims["n_audio_state"])
    yield from _norm("decoder.ln", dims["n_text_state"])


def names(audio_layers: int, text_layers: int) -> list[str]:
    """Name of every tensor of a Whisper of so many layers, under openai-whisper's names."""
    sizes = ("n_mels", "n_audio_ctx", "n_audio_state", "n_vocab", "n_text_ctx", "n_text_state")
    layers = {"n_audio_layer": audio_layers, "n_text_layer": text_layers}
    return [name for name, _ in tensors(dict.fromkeys(sizes, 1) | layers)]


def _block(block: str, width: int, attentions: tuple[str, ...]) -> Iterator[tuple[str, Shape]]:
    for attention in attentions:
        yield from _norm(f"{block}.{attention}_ln", width)
        for part in ("query", "key", "value", "out"):
            yield f"{block}.{attention}.{part}.weight", (width, width)
            if part != "key":
                yield f"{block}.{attention}.{part}.bias", (width,)
    yield from _norm(f"{block}.mlp_ln", width)
    yield f"{block}.mlp.0.weight", (4 * width, width)
    yield f"{block}.mlp.0.bias", (4 * width,)
    yield f"{block}.mlp.2.weight", (width, 4 * width)
    yield f"{block}.mlp.2.bias", (width,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _shape(state: Mapping[str, Tensor], name: str, rank: int, source: str) -> Shape:
    if name not in state:
        raise ModelError(f"{source} lacks {name!r}, which every Whisper has; it is incomplete: fetch it again")
    shape = tuple(state[name].shape)
    if len(shape) != rank or 0 in shape:
        raise ModelError(f"{source}: {name} has shape {shape}; expected {rank} sizes above 0: fetch it again")
    return shape


def _layers(state: Mapping[str, Tensor], side: str, source: str) -> int:
    found = {match[1] for name in state if (match := re.match(rf"{side}\.blocks\.(\w+)\.", name))}
    wanted = {str(layer) for layer in range(len(found))}
    if not found or found != wanted:
        what = f"lacks block {min(wanted - found)} of its {side}" if found else f"has no block in its {side}"
        raise ModelError(f"{source} {what}; it is incomplete: fetch it again")
    return len(found)


def _check(state: Mapping[str, Tensor], wanted: Mapping[str, Shape], source: str) -> None:
    missing = sorted(wanted.keys() - state.keys())
    unknown = sorted(state.keys() - wanted.keys())
    if missing or unknown:
        lists = [
            f"{len(names)} tensors {what} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
            for names, what in ((missing, "missing"), (unknown, "unknown"))
            if names
        ]
        raise ModelError(f"{source} is no complete Whisper: {' and '.join(lists)}; fetch it again")
    for name, shape in wanted.items():
        tensor = state[name]
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"{source}: {name} has shape {tuple(tensor.shape)}, but a Whisper of this width has {shape} there"
            )
        if not tensor.is_floating_point():
            raise ModelError(f"{source}: {name} is {tensor.dtype}; expected floating-point weights")
