"""Weights in whatever form they are held: as plain numbers, quantised, or not in memory at all."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

NUMBERS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
"""Dtypes that a model computes in; others are how quantised weights are stored."""


class Held(NamedTuple):
    """The numbers that flow through a module, as far as its weights tell."""

    dtype: torch.dtype
    """float32 where no weight is of a dtype that it could compute in."""
    device: torch.device
    """The processor where weights are on the meta device, as offloaded ones are: it is they that are moved."""


def held(*modules: nn.Module) -> Held:
    """Dtype and device of the first of these modules that has weights; those of its first plain weight, if any."""
    for module in modules:
        weights = list(module.parameters())
        if weights:
            first = next((weight for weight in weights if weight.dtype in NUMBERS), None)
            device = (weights[0] if first is None else first).device
            dtype = torch.float32 if first is None else first.dtype
            return Held(dtype, torch.device("cpu") if device.type == "meta" else device)
    return Held(torch.float32, torch.device("cpu"))


def is_plain(weight: Any) -> bool:
    """A tensor whose elements are the weight's own numbers: no packed ones, and none that a subclass computes."""
    return isinstance(weight, Tensor) and type(weight) in (Tensor, nn.Parameter) and weight.dtype in NUMBERS


def is_quantised(model: nn.Module) -> bool:
    """Some weights are stored as other numbers than they stand for: by torch, torchao, bitsandbytes and the like."""
    for module in model.modules():
        if type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized", "torch.ao.nn.intrinsic")):
            return True
        if any(not is_plain(weight) for weight in module._parameters.values() if weight is not None):
            return True
    return False
