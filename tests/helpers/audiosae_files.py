"""Files as AudioSAE and dictionary_learning write them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

D, F, K = 10, 48, 4


def state(seed: int = 0, **more) -> dict[str, object]:
    """A state dict with the names and shapes of `BatchTopKSAE`; None takes a name away."""
    g = torch.Generator().manual_seed(seed)
    content = {
        "encoder.weight": torch.randn(F, D, generator=g) / 3,
        "encoder.bias": torch.randn(F, generator=g) / 9,
        "decoder.weight": torch.randn(D, F, generator=g) / 3,
        "b_dec": torch.randn(D, generator=g) / 9,
        "k": torch.tensor(K, dtype=torch.int),
        "threshold": torch.tensor(0.4),
        **more,
    }
    return {name: value for name, value in content.items() if value is not None}


def standard(seed: int = 0) -> dict[str, object]:
    """The same of `AutoEncoder`, which calls its decoder's bias `bias` and has no k."""
    return state(seed, bias=torch.linspace(-0.2, 0.2, D), b_dec=None, k=None, threshold=None)


def save(folder: Path, content: object, config: object = None, **options) -> Path:
    torch.save(content, folder / "ae.pt", **options)
    if config is not None:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def pre(content: dict[str, Tensor], x: Tensor, bias: str = "b_dec") -> Tensor:
    """relu of dictionary_learning's encoder."""
    return nn.functional.relu(
        nn.functional.linear(x - content[bias], content["encoder.weight"], content["encoder.bias"])
    )
