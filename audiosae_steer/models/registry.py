"""Recognition of a model's family, and lookup of its sites."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import SiteError, UnknownModelError
from .families.any_module import AnyModule
from .families.ast import AST
from .families.diffrhythm import DiffRhythm
from .families.encodec import EnCodec
from .families.speech_encoder import KIN, SHAPED
from .families.wavtokenizer import WavTokenizer
from .families.whisper_openai import WhisperOpenAI
from .families.whisper_transformers import WhisperTransformers
from .sites import Dims, Family, Moment, Site, Tap, is_instance
from .storage import is_plain, is_quantised

FAMILIES: tuple[Family, ...] = (
    WhisperOpenAI(),
    WhisperTransformers(),
    *KIN,
    EnCodec(),
    WavTokenizer(),
    DiffRhythm(),
    AST(),
    SHAPED,
)
"""Families in the order in which they are asked; a new one is a file in `families/` and an entry here."""

__all__ = [
    "FAMILIES",
    "Dims",
    "Family",
    "Moment",
    "Site",
    "Tap",
    "family_of",
    "fingerprint",
    "frame_rate_at",
    "in_order",
    "tap_at",
    "unwrap",
]


_WRAPPERS = (
    "torch.nn.parallel.data_parallel.DataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel",
    "torch.optim.swa_utils.AveragedModel",
    "deepspeed.runtime.engine.DeepSpeedEngine",
    "lightning.fabric.wrappers._FabricModule",
)
"""Classes that hold a model as `module`."""


def unwrap(model: Any) -> nn.Module:
    """The module inside a pipeline of transformers, a model of PEFT, and what torch wraps round a model.

    That is, `torch.compile`, and wrappers that run a model on several devices.
    """
    if isinstance(model, (str, Path)):
        raise UnknownModelError(
            f"{str(model)!r} is a name, and not yet a model; load it first: load_whisper({str(model)!r}), or "
            "load_model() for what is no Whisper"
        )
    inner = model
    if not isinstance(inner, nn.Module) and isinstance(getattr(inner, "model", None), nn.Module):
        inner = inner.model
    while isinstance(inner, nn.Module):
        within = _inside(inner)
        if not isinstance(within, nn.Module) or within is inner:
            return inner
        inner = within
    raise UnknownModelError(f"{type(model).__name__} is not a model; pass a torch module or a transformers pipeline")


def _inside(model: Any) -> Any:
    """The module that `model` wraps, or None."""
    if isinstance(getattr(model, "_orig_mod", None), nn.Module):
        return model._orig_mod
    if is_instance(model, *_WRAPPERS):
        return model.module
    return model.get_base_model() if is_instance(model, "peft.peft_model.PeftModel") else None


def family_of(model: Any, *, paths: bool = False) -> Family:
    """The family that `model` belongs to; with `paths`, any module will do, whose sites are paths.

    Raises:
        UnknownModelError: none of the families recognises it.
    """
    inner = unwrap(model)
    for family in FAMILIES:
        if family.matches(inner):
            return family
    if paths:
        return AnyModule()
    known = ", ".join(f"{family.name} ({family.library})" for family in FAMILIES)
    raise UnknownModelError(
        f"{type(inner).__module__}.{type(inner).__name__} is not a model whose layers are known; known are: {known}. "
        'Of any other, name the module: steer(model, site=Site(path=..., layout="bfd"), ...)'
    )


def tap_at(model: nn.Module, family: Family, site: Site) -> Tap:
    """The module and axes of the residual at `site`.

    Raises:
        SiteError: the model has no such layer, or no such module.
    """
    if site.path is not None:
        return Tap(_module_at(model, site.path), layout=site.layout)
    dims = family.dims(model)
    layers = dims.encoder_layers if site.side == "encoder" else dims.decoder_layers
    if site.layer > layers:
        has = f"this model's {site.side} has layers 1 to {layers}" if layers else f"this model has no {site.side}"
        raise SiteError(f"there is no {site}: {has}; `audiosae-steer sites MODEL` lists what can be steered")
    return family.tap(model, site)


def in_order(model: nn.Module, family: Family, sites: Iterable[Site]) -> list[Site]:
    """Sites in the order in which a forward pass reaches them, as far as the order of a model's modules tells."""
    entered: dict[int, int] = {}
    left: dict[int, int] = {}

    def visit(module: nn.Module) -> None:
        if id(module) in entered:
            return
        entered[id(module)] = len(entered) + len(left)
        for child in module.children():
            visit(child)
        left[id(module)] = len(entered) + len(left)

    visit(model)

    def reached(site: Site) -> tuple[int, str]:
        tap = tap_at(model, family, site)
        return (left if tap.place == "output" else entered)[id(tap.module)], str(site)

    return sorted(sites, key=reached)


def _module_at(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        at, step = model, path.split(".")[0]
        for step in path.split("."):
            if step not in dict(at.named_children()):
                break
            at = dict(at.named_children())[step]
        known = ", ".join(name for name, _ in at.named_children()) or "nothing"
        raise SiteError(f"there is no module {path!r}: {step!r} is not in its parent, which holds {known}") from error


def frame_rate_at(model: nn.Module, family: Family, site: Site) -> float | None:
    """Frames per second at `site`, or None where frames have no time."""
    return site.frame_rate if site.path is not None else family.frame_rate(model, site)


def fingerprint(model: Any) -> str | None:
    """sha256 over a few named tensors in float16: the same for the same weights in either library.

    None where it cannot be told: in bfloat16, which keeps fewer bits than a fingerprint needs, on the meta device, and
    where weights are quantised, which are not the numbers that a recipe was made for.
    """
    inner = unwrap(model)
    if is_quantised(inner):
        return None
    digest = hashlib.sha256()
    for tensor in family_of(inner).fingerprint_tensors(inner):
        if not is_plain(tensor) or tensor.dtype == torch.bfloat16 or tensor.is_meta:
            return None
        digest.update(tensor.detach().to(device="cpu", dtype=torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()
