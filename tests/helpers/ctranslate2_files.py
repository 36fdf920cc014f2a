"""Whispers as CTranslate2 writes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CODES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.float16: 4}


def variables_of(model: Any) -> dict[str, Tensor]:
    """A model's weights under CTranslate2's names, query, key and value stacked."""
    state = model.state_dict()
    out = {
        "decoder/embeddings/weight": state["decoder.token_embedding.weight"],
        "encoder/position_encodings/encodings": state["encoder.positional_embedding"],
        "decoder/position_encodings/encodings": state["decoder.positional_embedding"],
        "encoder/num_heads": torch.tensor(model.dims.n_audio_head, dtype=torch.int16),
        "decoder/num_heads": torch.tensor(model.dims.n_text_head, dtype=torch.int16),
        "decoder/pre_norm": torch.tensor(1, dtype=torch.int8),
    }
    for conv in ("conv1", "conv2"):
        out |= {f"encoder/{conv}/{kind}": state[f"encoder.{conv}.{kind}"] for kind in ("weight", "bias")}
    for side, final in (("encoder", "ln_post"), ("decoder", "ln")):
        out |= norm(f"{side}/layer_norm", state, f"{side}.{final}")
        for i in range(model.dims.n_audio_layer):
            ours, theirs = f"{side}.blocks.{i}", f"{side}/layer_{i}"
            for attn, name in (("attn", "self_attention"), ("cross_attn", "attention")):
                if f"{ours}.{attn}.query.weight" not in state:
                    continue
                bias = state[f"{ours}.{attn}.query.bias"]
                parts = {p: state[f"{ours}.{attn}.{p}.weight"] for p in ("query", "key", "value", "out")}
                biases = {p: state.get(f"{ours}.{attn}.{p}.bias", torch.zeros_like(bias)) for p in parts}
                stacks = [("query", "key", "value"), ("out",)]
                if attn == "cross_attn":
                    stacks = [("query",), ("key", "value"), ("out",)]
                for n, stack in enumerate(stacks):
                    out[f"{theirs}/{name}/linear_{n}/weight"] = torch.cat([parts[p] for p in stack])
                    out[f"{theirs}/{name}/linear_{n}/bias"] = torch.cat([biases[p] for p in stack])
                out |= norm(f"{theirs}/{name}/layer_norm", state, f"{ours}.{attn}_ln")
            for n, part in enumerate(("0", "2")):
                for kind in ("weight", "bias"):
                    out[f"{theirs}/ffn/linear_{n}/{kind}"] = state[f"{ours}.mlp.{part}.{kind}"]
            out |= norm(f"{theirs}/ffn/layer_norm", state, f"{ours}.mlp_ln")
    return out


def written(
    variables: dict[str, Tensor],
    spec: str = "WhisperSpec",
    version: int = 6,
    aliases: Sequence[tuple[str, str]] = (("decoder/projection/weight", "decoder/embeddings/weight"),),
) -> bytes:
    """The file."""

    def text(value: str) -> bytes:
        raw = value.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    data = struct.pack("<I", version) + text(spec) + struct.pack("<II", 3, len(variables))
    for name, tensor in variables.items():
        raw = tensor.contiguous().numpy().tobytes()
        data += text(name) + struct.pack("<B", tensor.dim()) + struct.pack(f"<{tensor.dim()}I", *tensor.shape)
        data += struct.pack("<BI", CODES[tensor.dtype], len(raw)) + raw
    return data + struct.pack("<I", len(aliases)) + b"".join(text(name) for pair in aliases for name in pair)


def norm(theirs: str, state: dict[str, Tensor], ours: str) -> dict[str, Tensor]:
    """A layer norm's two tensors."""
    return {f"{theirs}/gamma": state[f"{ours}.weight"], f"{theirs}/beta": state[f"{ours}.bias"]}


def quantised(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """int8 rows with a scale each, as CTranslate2 stores linear and embedding weights."""
    out = {}
    for name, tensor in variables.items():
        if name.endswith("/weight") and tensor.dim() == 2:
            scale = 127 / tensor.float().abs().amax(1).clamp(min=1e-9)
            out[name] = (tensor.float() * scale[:, None]).round().to(torch.int8)
            out[f"{name}_scale"] = scale
        else:
            out[name] = tensor
    return out
