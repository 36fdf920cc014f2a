"""Models of Whisper's shape in plain torch, with random weights: right for time, and in need of no other package.

The blocks are Whisper's (Radford et al., arXiv 2212.04356): pre-norm attention and a GELU MLP four times as wide.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Shape(NamedTuple):
    """Sizes of a Whisper."""

    d: int
    """Width of the residual."""
    layers: int
    """Blocks of the encoder, and of the decoder."""
    heads: int
    """Attention heads."""
    frames: int = 1500
    """Frames of 30 s after the convolutions."""
    context: int = 448
    """Most tokens of a text."""


SHAPES = {"tiny.en": Shape(384, 4, 6), "large-v3": Shape(1280, 32, 20), "miniature": Shape(64, 2, 2, 50, 64)}


class EncoderBlock(nn.Module):
    """Self-attention over all frames, and the MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.d
        self.heads = shape.heads
        self.norm, self.mlp_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        """The next residual of x (batch, frames, d)."""
        q, k, v = (_heads(part, self.heads) for part in self.qkv(self.norm(x)).chunk(3, -1))
        x = x + self.out(_joined(functional.scaled_dot_product_attention(q, k, v)))
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class DecoderBlock(nn.Module):
    """One step of a text: self-attention over a static cache, cross-attention to the audio, and the MLP."""

    cache: Tensor
    audio: Tensor
    at: Tensor
    seen: Tensor

    def __init__(self, shape: Shape, batch: int, tokens: int) -> None:
        super().__init__()
        d, each = shape.d, shape.d // shape.heads
        self.heads = shape.heads
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(3))
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.cross_q, self.cross_out = nn.Linear(d, d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.register_buffer("cache", torch.randn(2, batch, shape.heads, shape.context, each))
        self.register_buffer("audio", torch.randn(2, batch, shape.heads, shape.frames, each))
        self.register_buffer("at", torch.tensor([tokens - 1]))
        self.register_buffer("seen", torch.arange(shape.context)[None, None, None] < tokens)

    def forward(self, x: Tensor) -> Tensor:
        """The next residual of x (batch, 1, d), a text's newest token."""
        q, k, v = (_heads(part, self.heads) for part in self.qkv(self.norms[0](x)).chunk(3, -1))
        self.cache[0].index_copy_(2, self.at, k)
        self.cache[1].index_copy_(2, self.at, v)
        own = functional.scaled_dot_product_attention(q, self.cache[0], self.cache[1], attn_mask=self.seen)
        x = x + self.out(_joined(own))
        q = _heads(self.cross_q(self.norms[1](x)), self.heads)
        x = x + self.cross_out(_joined(functional.scaled_dot_product_attention(q, self.audio[0], self.audio[1])))
        out: Tensor = x + self.mlp(self.norms[2](x))
        return out


class Stack(nn.Module):
    """Blocks one after the other, and the last norm."""

    def __init__(self, blocks: list[nn.Module], d: int) -> None:
        super().__init__()
        self.blocks, self.norm = nn.ModuleList(blocks), nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """The last residual, normalised."""
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


def encoder(shape: Shape) -> Stack:
    """The encoder after its convolutions: from residuals (1, frames, d) on."""
    torch.manual_seed(0)
    return Stack([EncoderBlock(shape) for _ in range(shape.layers)], shape.d).eval().requires_grad_(False)


def decode_step(shape: Shape, batch: int = 1, tokens: int = 32) -> Stack:
    """One cached step of the decoder without its embedding and head: the residual (batch, 1, d) of the newest token."""
    torch.manual_seed(0)
    blocks: list[nn.Module] = [DecoderBlock(shape, batch, tokens) for _ in range(shape.layers)]
    return Stack(blocks, shape.d).eval().requires_grad_(False)


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
