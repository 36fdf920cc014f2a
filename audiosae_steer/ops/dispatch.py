"""Choice of path and of kernel.

`reference` is the truth; `eager` the fast forms in plain PyTorch, for processors and for gradients of everything;
`custom_ops` the Triton kernels, as operators of torch; `plan_paths` runs the path that is chosen here.
"""

from __future__ import annotations

import functools
import logging
import warnings
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_LOG = logging.getLogger("audiosae_steer.fallbacks")
MAX_SELECT_FEATURES = 16384
"""Features that the selection kernel takes: a program holds all of a frame's."""

Path = Literal["identity", "add", "delta", "full"]
Kernel = Literal["torch", "triton"]
SERVED = (torch.float32, torch.bfloat16, torch.float16)
TRITON = find_spec("triton") is not None
MAX_COUNTED = 16
"""Edited features up to which a selection is made by comparing each of them with all others."""
INTERPRETED = False
"""Processors run the kernels too, by Triton's interpreter (`TRITON_INTERPRET=1`): slow, and for tests."""


class Cost(NamedTuple):
    """Work and memory traffic of a plan."""

    kernel: Kernel
    """`triton`, or plain `torch`."""
    multiply_adds: int
    """A frame; two floating-point operations each."""
    frame_bytes: int
    """Bytes of the residual read and written a frame; the SAE's activations, between x and x', need none."""
    weight_bytes: int
    """Bytes of the SAE's rows, or of the vector, read once a pass."""


def choose_path(*, edits: bool, constant: bool, own_gates: bool, unit_norm: bool, keep_error: bool) -> Path:
    """The cheapest path that gives the reference's answer.

    Args:
        edits: there is something to do at all.
        constant: every edit is an `Add` or a `Push`.
        own_gates: each feature's activation depends on that feature alone.
        unit_norm: each frame is normalised on its way in, so that a constant in feature space is not one in x.
        keep_error: the part of x that the SAE cannot express is kept.
    """
    if not keep_error:
        return "full"
    if not edits:
        return "identity"
    if constant and not unit_norm:
        return "add"
    return "delta" if own_gates else "full"


def kernel_for(x: Tensor) -> Kernel:
    """Kernel for x: Triton on a GPU, in a dtype that it serves; plain torch elsewhere."""
    if x.dtype not in SERVED or not (x.is_cuda or INTERPRETED):
        return "torch"
    if not TRITON and not torch.compiler.is_compiling():
        _miss_triton()
    return "triton" if TRITON else "torch"


def asks(x: Tensor) -> bool:
    """Reading a number from the device costs no wait, and what is done upon it is not frozen into a trace."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    mapped: bool = torch._C._functorch.is_batchedtensor(x)  # under vmap
    return x.device.type == "cpu" and not mapped


def counts(x: Tensor, kind: str, edited: int) -> bool:
    """Topk's selection is best made by counting the features before each edited one, with few of them edited on a GPU.

    From the arithmetic alone: where few are edited and products are of half precision (or tf32); not measured on a GPU.
    """
    exact = x.dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    return kind == "topk" and 0 < edited <= MAX_COUNTED and kernel_for(x) == "triton" and (INTERPRETED or not exact)


def products_for(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Dtype of products in a model of weights of `dtype`: half precision where the hardware has it, float32 elsewhere.

    Sums are float32 either way.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    if half and (device.type == "cuda" or (dtype == torch.bfloat16 and _multiplies_bfloat16())):
        return dtype
    return torch.promote_types(dtype, torch.float32)


@functools.cache
def _multiplies_bfloat16() -> bool:
    try:
        found: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):  # a torch without that library
        return False
    return found


@functools.cache
def _miss_triton() -> None:
    _LOG.warning("Triton is not installed: steering on this GPU takes several passes over the residual")
    warnings.warn(
        "Triton is not installed, so that steering on this GPU takes several passes over the residual; "
        "run: pip install triton",
        stacklevel=2,
    )
