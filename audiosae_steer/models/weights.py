"""A Whisper's weights under openai-whisper's names, and the two libraries' models built from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import MissingExtraError, ModelError

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
    """What any of the sources gives."""

    dims: dict[str, int]
    """openai-whisper's `ModelDimensions`, by name."""
    state: dict[str, Tensor]
    """Tensors under openai-whisper's names."""
    alignment_heads: tuple[tuple[int, int], ...] | None = None
    """(layer, head) of the cross-attention heads that follow time; None: the later half, as openai-whisper assumes."""
    tokenizer: Path | None = None
    """A `tokenizer.json` that came with them."""

    @classmethod
    def from_state(cls, state: dict[str, Tensor], heads: int, source: str) -> Weights:
        """Read the sizes off the tensors."""
        try:
            audio, text = state["encoder.positional_embedding"], state["decoder.positional_embedding"]
            dims = {
                "n_mels": state["encoder.conv1.weight"].shape[1],
                "n_audio_ctx": audio.shape[0],
                "n_audio_state": audio.shape[1],
                "n_audio_head": heads or audio.shape[1] // 64,
                "n_audio_layer": _count(state, "encoder"),
                "n_vocab": state["decoder.token_embedding.weight"].shape[0],
                "n_text_ctx": text.shape[0],
                "n_text_state": text.shape[1],
                "n_text_head": heads or text.shape[1] // 64,
                "n_text_layer": _count(state, "decoder"),
            }
        except (KeyError, IndexError) as error:
            raise ModelError(
                f"{source} lacks {error}, which every Whisper has; it is incomplete: fetch it again"
            ) from error
        return cls(dims, state)

    @property
    def multilingual(self) -> bool:
        """Whether the vocabulary is that of the multilingual models."""
        return self.dims["n_vocab"] >= 51865


def to_openai(weights: Weights, source: str) -> Any:
    """An openai-whisper model in float32."""
    try:
        from whisper.model import ModelDimensions, Whisper
    except ImportError as error:
        raise MissingExtraError(
            "openai-whisper is not installed; run: pip install 'audiosae-steer[whisper]'"
        ) from error
    model = Whisper(ModelDimensions(**weights.dims))
    _load(model, {name: tensor.float() for name, tensor in weights.state.items()}, source)
    heads = torch.zeros(weights.dims["n_text_layer"], weights.dims["n_text_head"], dtype=torch.bool)
    if weights.alignment_heads is None:
        heads[weights.dims["n_text_layer"] // 2 :] = True
    for layer, head in weights.alignment_heads or ():
        if layer >= heads.shape[0] or head >= heads.shape[1]:
            raise ModelError(f"{source} names alignment head {(layer, head)}, which this model does not have")
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
    generation = generation_config(weights)
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
    state = {f"model.{_transformers_name(name)}": tensor.float() for name, tensor in weights.state.items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    _load(model, state, source)
    model.tie_weights()
    model.generation_config = generation
    return model.eval()


def from_transformers(model: Any) -> Weights:
    """The weights of a `WhisperForConditionalGeneration`."""
    theirs = model.model.state_dict()
    reference = Weights({}, {})
    state: dict[str, Tensor] = {}
    wanted = _openai_names(model.config)
    for name in wanted:
        state[name] = theirs[_transformers_name(name)].detach().clone()
    weights = reference.from_state(state, model.config.encoder_attention_heads, type(model).__name__)
    heads = getattr(model.generation_config, "alignment_heads", None)
    return weights._replace(alignment_heads=tuple((a, b) for a, b in heads) if heads else None)


def _openai_names(config: Any) -> list[str]:
    names = ["encoder.conv1.weight", "encoder.conv1.bias", "encoder.conv2.weight", "encoder.conv2.bias"]
    names += ["encoder.positional_embedding", "decoder.positional_embedding", "decoder.token_embedding.weight"]
    names += [f"{ln}.{kind}" for ln in ("encoder.ln_post", "decoder.ln") for kind in ("weight", "bias")]
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        attentions = ("attn",) if side == "encoder" else ("attn", "cross_attn")
        for block in (f"{side}.blocks.{layer}" for layer in range(layers)):
            parts = ["mlp.0", "mlp.2", "mlp_ln"]
            for attention in attentions:
                parts += [f"{attention}_ln", *(f"{attention}.{p}" for p in ("query", "key", "value", "out"))]
            names += [f"{block}.{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    return [name for name in names if not name.endswith("key.bias")]


def _transformers_name(name: str) -> str:
    for pattern, replacement in _TO_TRANSFORMERS:
        name = re.sub(pattern, replacement, name)
    return name


def _load(model: Any, state: dict[str, Tensor], source: str) -> None:
    try:
        missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise ModelError(f"{source} does not hold the tensors of a Whisper: {str(error)[:300]}") from error
    if missing or unexpected:
        raise ModelError(
            f"{source} is no complete Whisper: {len(missing)} tensors missing ({', '.join(missing[:3])}), "
            f"{len(unexpected)} unknown ({', '.join(unexpected[:3])})"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _count(state: dict[str, Tensor], side: str) -> int:
    return 1 + max((int(name.split(".")[2]) for name in state if name.startswith(f"{side}.blocks.")), default=-1)
