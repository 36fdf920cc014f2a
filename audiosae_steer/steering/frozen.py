"""Refusal of what `torch.jit.trace` and `torch.export` would freeze: decisions made before, for another batch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SteeringError
from ..models.sites import Site


def is_tracing() -> bool:
    """`torch.jit.trace` is at work."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def is_frozen(x: Tensor, decided: Tensor) -> bool:
    """A trace of x is being made, and `decided` was not: it would be a constant there."""
    if torch.compiler.is_compiling():
        exporting = getattr(torch.compiler, "is_exporting", lambda: False)()  # since torch 2.7
        return bool(exporting and type(x) is not Tensor and type(decided) is Tensor)
    if not is_tracing():
        return False
    return bool(torch._C._get_value_trace(decided).node().kind() == "prim::Constant")  # type: ignore[attr-defined]


def check_decided(x: Tensor, decided: Tensor | None, what: str, site: Site) -> None:
    """SteeringError if a trace of x would hold for ever what was decided for one batch."""
    if decided is not None and is_frozen(x, decided):
        raise SteeringError(
            f"tracing {site} by itself would freeze what {what} decided for one batch; trace the whole model, in which "
            "it decides anew for each"
        )


def check_counted(site: Site) -> None:
    """SteeringError where a trace would freeze the step of a diffusion at which it is made."""
    if is_tracing() or getattr(torch.compiler, "is_exporting", lambda: False)():
        raise SteeringError(
            f"the edits at {site} are for some steps of a diffusion, and a trace holds one pass, at no step; choose "
            "them by the time of the flow instead, flow=(from, up to), or steer without a trace"
        )
