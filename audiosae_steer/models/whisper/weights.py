"""A Whisper's weights under openai-whisper's names, and the two libraries' models built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import MissingExtraError, ModelError
from . import layout

_TO_TRANSFORMERS = (
    (r"^(encoder|decoder)\.blocks\.(\d+)\.", r"\1.layers.\2."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.attn\.", ".self_attn."),
    (r"\.query\.", ".q_proj."),
    (r"\.key\.", ".k_proj."),
    (r"\.value\.", ".v_proj."),
    (r"\.out\.", ".out_proj."),
    (r"^encoder\.ln_post\.", "encoder.layer_norm."),
    (r"^decoder\.ln\.", "decoder.layer_norm."),
    (r"^decoder\.token_embedding\.", "decoder.embed_tokens."),
    (r"\.positional_embedding$", ".embed_positions.weight"),
)


class Weights(NamedTuple):
    """A Whisper's weights, sizes and alignment heads, from any source."""

    dims: dict[str, int]
    """openai-whisper's `ModelDimensions`, by name."""
    state: dict[str, Tensor]
    """Tensors under openai-whisper's names."""
    alignment_heads: tuple[tuple[int, int], ...]
    """(layer, head) of the cross-attention heads that follow time, layers counted from 0."""

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], heads: int | tuple[int, int], source: str, alignment_heads: Any = None
    ) -> Weights:
        """Check the tensors and read the sizes off them.

        Args:
            state: tensors under openai-whisper's names.
            heads: attention heads, or (encoder's, decoder's); 0: one for each 64 units.
            source: what they came from, for the messages.
            alignment_heads: pairs of (layer, head); None: every head of the later half, as openai-whisper assumes.

        Raises:
            ModelError: the tensors are not those of one whole Whisper, or there is no such head.
        """
        dims = layout.sizes(state, (heads, heads) if isinstance(heads, int) else heads, source)
        layers, count = dims["n_text_layer"], dims["n_text_head"]
        if alignment_heads is None:
            pairs = tuple((layer, head) for layer in range(layers // 2, layers) for head in range(count))
        else:
            pairs = _pairs(alignment_heads, source)
        for layer, head in pairs:
            if not (0 <= layer < layers and 0 <= head < count):
                raise ModelError(
                    f"{source} names alignment head {(layer, head)}; this model has layers 0 to {layers - 1} of "
                    f"{count} heads: correct or remove alignment_heads in its configuration"
                )
        return cls(dims, dict(state), pairs)

    @property
    def multilingual(self) -> bool:
        """True if the vocabulary is that of the multilingual models."""
        return self.dims["n_vocab"] >= 51865


def _pairs(value: Any, source: str) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((int(layer), int(head)) for layer, head in value)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{source} has alignment_heads {str(value)[:60]}; expected pairs of layer and head: correct or remove them"
        ) from error


def to_openai(weights: Weights, source: str) -> Any:
    """An openai-whisper model in float32, which shares no memory with `weights`."""
    try:
        from whisper.model import ModelDimensions, Whisper
    except ImportError as error:
        raise MissingExtraError(
            "openai-whisper is not installed; run: pip install 'audiosae-steer[whisper]'"
        ) from error
    model = Whisper(ModelDimensions(**weights.dims))
    _load(model, weights.state, source)
    heads = torch.zeros(weights.dims["n_text_layer"], weights.dims["n_text_head"], dtype=torch.bool)
    for layer, head in weights.alignment_heads:
        heads[layer, head] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.eval()


def to_transformers(weights: Weights, source: str) -> Any:
    """A `WhisperForConditionalGeneration` in float32, with the generation config that goes with its vocabulary."""
    try:
        from transformers import WhisperConfig, WhisperForConditionalGeneration
    except ImportError as error:
        raise MissingExtraError(
            "transformers is not installed; run: pip install 'audiosae-steer[transformers]'"
        ) from error
    from .vocabulary import generation_config

    dims = weights.dims
    if dims["n_audio_state"] != dims["n_text_state"]:
        raise ModelError(
            f"{source} is {dims['n_audio_state']} wide in the encoder and {dims['n_text_state']} in the decoder; "
            'transformers has one width for both: use library="openai"'
        )
    generation = generation_config(dims["n_vocab"], dims["n_text_ctx"], weights.alignment_heads)
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        decoder_layers=dims["n_text_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        decoder_attention_heads=dims["n_text_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_ffn_dim=4 * dims["n_text_state"],
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
        bos_token_id=generation.bos_token_id,
        eos_token_id=generation.eos_token_id,
        pad_token_id=generation.pad_token_id,
        decoder_start_token_id=generation.decoder_start_token_id,
    )
    model: Any = WhisperForConditionalGeneration(config)
    _load(model.model, {transformers_name(name): tensor for name, tensor in weights.state.items()}, source)
    model.tie_weights()
    model.generation_config = generation
    return model.eval()


def transformers_name(name: str) -> str:
    """The name in transformers of openai-whisper's tensor `name`, below `WhisperForConditionalGeneration.model`."""
    for pattern, replacement in _TO_TRANSFORMERS:
        name = re.sub(pattern, replacement, name)
    return name


def _load(model: Any, state: Mapping[str, Tensor], source: str) -> None:
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(f"{source} does not hold the tensors of a Whisper: {str(error)[:300]}") from error
