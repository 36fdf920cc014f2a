"""Where a model's residuals are: one small file per family, and the registry that recognises a model."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from ..errors import SiteError, UnknownModelError
from .site import Dims, Family, Site
from .whisper_openai import WhisperOpenAI
from .whisper_transformers import WhisperTransformers

FAMILIES: tuple[Family, ...] = (WhisperOpenAI(), WhisperTransformers())

__all__ = ["FAMILIES", "Dims", "Family", "Site", "block_at", "family_of", "fingerprint", "unwrap"]


def unwrap(model: Any) -> nn.Module:
    """The module to hook: inside a transformers pipeline, and inside what `torch.compile` wraps round a model."""
    inner = model
    if not isinstance(inner, nn.Module) and isinstance(getattr(inner, "model", None), nn.Module):
        inner = inner.model
    while isinstance(getattr(inner, "_orig_mod", None), nn.Module):
        inner = inner._orig_mod
    if not isinstance(inner, nn.Module):
        raise UnknownModelError(
            f"{type(model).__name__} is not a model; pass a torch module or a transformers pipeline"
        )
    return inner


def family_of(model: Any) -> Family:
    """The family that `model` belongs to.

    Raises:
        UnknownModelError: none of the families recognises it.
    """
    inner = unwrap(model)
    for family in FAMILIES:
        if family.matches(inner):
            return family
    known = ", ".join(f"{family.name} ({family.library})" for family in FAMILIES)
    raise UnknownModelError(
        f"{type(inner).__module__}.{type(inner).__name__} is not a model that can be steered; known are: {known}"
    )


def block_at(model: nn.Module, family: Family, site: Site) -> nn.Module:
    """The module whose output is the residual at `site`.

    Raises:
        SiteError: the model has no such layer.
    """
    dims = family.dims(model)
    layers = dims.encoder_layers if site.side == "encoder" else dims.decoder_layers
    if site.layer > layers:
        raise SiteError(f"there is no {site}: this model's {site.side} has layers 1 to {layers}")
    return family.block(model, site)


def fingerprint(model: Any) -> str | None:
    """sha256 over a few named tensors in float16: the same for the same weights in either library.

    None where it cannot be told: in bfloat16, which keeps fewer bits than a fingerprint needs, and on the meta device.
    """
    inner = unwrap(model)
    digest = hashlib.sha256()
    for tensor in family_of(inner).fingerprint_tensors(inner):
        if tensor.dtype == torch.bfloat16 or tensor.is_meta:
            return None
        digest.update(tensor.detach().to(device="cpu", dtype=torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
