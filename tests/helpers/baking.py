"""Steerings that can be baked, and how models are compared before and after."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audiosae_steer import Add, Push, Site, SiteEdits


def constants(d: int, layers: tuple[int, int], sae: Any = None, size: float = 0.3) -> list[SiteEdits]:
    """A constant at the last encoder layer, and one at each decoder layer."""
    g = torch.Generator().manual_seed(d)
    first: list[Any] = [Push(torch.randn(d, generator=g), size)]
    if sae is not None:
        first += [Add([1, 5], [size, -size]), Add(2, size, units="typical")]
    decoder = [
        SiteEdits(Site(layer, "decoder"), None, [Push(torch.randn(d, generator=g), size)])
        for layer in range(1, layers[1] + 1)
    ]
    return [SiteEdits(Site(layers[0]), sae, first), *decoder]


def mute(model: Any, amount: float = 400.0) -> list[SiteEdits]:
    """A constant after the last decoder layer under which every text ends at once, where it may."""
    embedding = model.decoder.token_embedding if hasattr(model, "dims") else model.model.decoder.embed_tokens
    size = len(embedding.weight)
    end = embedding.weight[50257 if size >= 51865 else 50256].detach().double()
    last = model.dims.n_text_layer if hasattr(model, "dims") else model.config.decoder_layers
    return [SiteEdits(Site(last, "decoder"), None, [Push(end / end.norm(), amount)])]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every weight."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, Tensor]) -> list[str]:
    """The weights that are not what they were, bit for bit."""
    after = model.state_dict()
    assert after.keys() == before.keys()
    return [name for name, tensor in before.items() if not same_bits(tensor, after[name])]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Also of zeros and of NaN."""
    if one.is_meta or other.is_meta:
        return one.is_meta and other.is_meta
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
