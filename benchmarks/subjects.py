"""The models that `overhead.py` steers: what to run, and at which block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from others import Way
from torch import Tensor, nn

from audiosae_steer import load_whisper

FEW = ("add", "delta, 100 features", "full, topk, error kept", "SAELens, use_error_term, topk")
"""The arms where a pass takes many seconds."""


@dataclass(frozen=True)
class Subject:
    """A model that runs, and one block of it."""

    name: str
    run: Callable[[], Any]
    block: nn.Module
    d: int
    frames: int
    few: tuple[str, ...] = ()
    """Only these arms; none: all."""
    traced: bool = False
    """Whether nnsight traces the block, which takes a residual alone."""
    weighed: bool = False
    """Whether the memory is measured too."""

    def hook(self, way: Way) -> Any:
        """Put an edit of the residual behind the block; blocks give a tensor, or a tuple that begins with one."""

        def hook(module: Any, args: Any, out: Any) -> Any:
            return way(out) if isinstance(out, Tensor) else (way(out[0]), *out[1:])

        return self.block.register_forward_hook(hook)


def _openai(name: str, model: Any, layer: int, **more: Any) -> Subject:
    dims = model.dims
    mel = torch.randn(1, dims.n_mels, 3000, generator=torch.Generator().manual_seed(0))
    block = model.encoder.blocks[layer - 1]
    return Subject(f"{name}, encoder", lambda: model.encoder(mel), block, dims.n_audio_state, 1500, **more)


def random_whisper(d: int, layers: int, heads: int, mels: int = 80) -> Any:
    """An openai-whisper model of a given encoder, with random weights and a decoder of one layer."""
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    dims = ModelDimensions(mels, 1500, d, heads, layers, 51865, 448, d, heads, 1)
    return Whisper(dims).eval().requires_grad_(False)


def _hubert() -> Subject:
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True,
    )  # fmt: skip
    model = HubertModel(config).eval().requires_grad_(False)
    wav = torch.randn(1, 30 * 16000, generator=torch.Generator().manual_seed(0))
    return Subject("HuBERT-large, 30 s", lambda: model(wav), model.encoder.layers[11], 1024, 1499, few=FEW)


def _dit() -> Subject:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaModel

    # DiffRhythm's transformer is built of these blocks: 2048 wide, 16 deep, 32 heads, 2048 latent frames
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, intermediate_size=8192, vocab_size=8
    )  # fmt: skip
    model = LlamaModel(config).eval().requires_grad_(False)
    latents = torch.randn(1, 2048, 2048, generator=torch.Generator().manual_seed(0))
    return Subject(
        "DiffRhythm's transformer blocks, one pass", lambda: model(inputs_embeds=latents, use_cache=False),
        model.layers[7], 2048, 2048, few=FEW[:3],
    )  # fmt: skip


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "small": lambda: _openai("Whisper-small's shape", random_whisper(768, 12, 12), 8, traced=True, weighed=True),
    "tiny.en": lambda: _openai("tiny.en as released", load_whisper("tiny.en"), 4, traced=True),
    "base": lambda: _openai("base as released", load_whisper("base"), 6),
    "large-v3": lambda: _openai("Whisper-large-v3's shape", random_whisper(1280, 32, 20, 128), 16, few=FEW),
    "hubert-large": _hubert,
    "dit": _dit,
}
