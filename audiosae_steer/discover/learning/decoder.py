"""openai-whisper's decoder, differentiated through to the frames it attends to, with less work where tokens are few.

A decoding step maps all 1,500 frames to keys and values, which is most of the work when few tokens ask. Both maps are
linear, so they can as well be applied to the queries and to the attended mixtures: the same function, up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def hidden(
    decoder: Any, tokens: Tensor, frames: Tensor, added: Tensor | None = None, only: int | None = None
) -> Tensor:
    """Last hidden states (clips, tokens, d_model) of the decoder, before the map to the vocabulary.

    Args:
        decoder: openai-whisper's `TextDecoder`.
        tokens: (clips, tokens).
        frames: (clips, frames, d_model) the encoder's output; bfloat16 is faster where the CPU has it.
        added: (layers, d_model) vectors to add to every token's residual after each block; None adds nothing.
        only: the position of the one token whose residual it is added to; None adds it to all.
    """
    count = tokens.shape[1]
    where = torch.ones(count, 1) if only is None else (torch.arange(count) == only)[:, None]
    where = where.to(frames.device, torch.float32)
    x = decoder.token_embedding(tokens) + decoder.positional_embedding[:count]
    for number, block in enumerate(decoder.blocks):
        x = x + _self_attention(block.attn, block.attn_ln(x))
        x = x + _cross_attention(block.cross_attn, block.cross_attn_ln(x), frames)
        x = x + block.mlp(block.mlp_ln(x))
        x = x if added is None else x + where * added[number]
    last: Tensor = decoder.ln(x)
    return last


def logits(decoder: Any, states: Tensor) -> Tensor:
    """Logits (..., vocabulary) of hidden states."""
    weight: Tensor = decoder.token_embedding.weight
    return states @ weight.T


def _self_attention(attention: Any, x: Tensor) -> Tensor:
    heads = (attention.n_head, x.shape[-1] // attention.n_head)
    q, k, v = (
        part(x).unflatten(-1, heads).transpose(1, 2) for part in (attention.query, attention.key, attention.value)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    out: Tensor = attention.out(mixed.transpose(1, 2).flatten(-2))
    return out


def _cross_attention(attention: Any, x: Tensor, frames: Tensor) -> Tensor:
    clips, count, width = x.shape
    heads = (attention.n_head, width // attention.n_head)
    q = attention.query(x).unflatten(-1, heads) * heads[1] ** -0.5
    asked = torch.einsum("bthc,hcd->bhtd", q, attention.key.weight.unflatten(0, heads))
    scores = asked.flatten(1, 2).to(frames.dtype) @ frames.transpose(1, 2)
    weights = scores.float().softmax(-1)
    mixed = (weights.to(frames.dtype) @ frames).float().view(clips, heads[0], count, width)
    v = torch.einsum("bhtd,hcd->bthc", mixed, attention.value.weight.unflatten(0, heads))
    out: Tensor = attention.out(v.flatten(-2) + attention.value.bias)
    return out
