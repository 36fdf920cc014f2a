"""The three paths, and the choice between them. Tensors only.

`reference` is the truth; `eager` the fast forms in plain PyTorch, for processors and for gradients of everything;
`fused` the Triton kernels, as operators of torch.
"""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec
from typing import Literal, NamedTuple

import torch
from torch import Tensor

WIDEST = 16384
"""Features that the kernel takes."""

Path = Literal["identity", "add", "delta", "full"]
Kernel = Literal["torch", "triton"]
SERVED = (torch.float32, torch.bfloat16, torch.float16)
TRITON = find_spec("triton") is not None
COUNTED = 16
"""Edited features that are compared with all others one by one."""
INTERPRETED = False
"""Whether processors run the kernels too, by Triton's interpreter (`TRITON_INTERPRET=1`): slow, and for tests."""


class Cost(NamedTuple):
    """What a plan takes."""

    kernel: Kernel
    """What computes it."""
    multiply_adds: int
    """For each frame; two floating-point operations each."""
    frame_bytes: int
    """Of the residual that are read and written for each frame; between x and x' the SAE's activations need none."""
    weight_bytes: int
    """Of the SAE's rows, or of the vector, read once a pass."""


def choose_path(*, edits: bool, constant: bool, own_gates: bool, unit_norm: bool, keep_error: bool) -> Path:
    """The cheapest path that gives the reference's answer.

    Args:
        edits: there is something to do at all.
        constant: every edit is an `Add` or a `Push`.
        own_gates: each feature's activation depends on that feature alone.
        unit_norm: each frame is normalised on its way in, so that a constant in feature space is none in x.
        keep_error: what the SAE cannot express is kept.
    """
    if not keep_error:
        return "full"
    if not edits:
        return "identity"
    if constant and not unit_norm:
        return "add"
    return "delta" if own_gates else "full"


def kernel_for(x: Tensor) -> Kernel:
    """What computes `delta` on x: Triton on a GPU that it serves, plain torch elsewhere."""
    if x.dtype not in SERVED or not (x.is_cuda or INTERPRETED):
        return "torch"
    if not TRITON and not torch.compiler.is_compiling():
        _miss_triton()
    return "triton" if TRITON else "torch"


def counts(x: Tensor, kind: str, edited: int) -> bool:
    """Whether topk's choice among all features is made by counting what comes before each edited one of x.

    By the arithmetic of it, where few are edited and products are of half precision (or tf32); not measured on a GPU.
    """
    exact = x.dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    return kind == "topk" and 0 < edited <= COUNTED and kernel_for(x) == "triton" and (INTERPRETED or not exact)


def products_for(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What products take beside weights of `dtype`: half precision where the hardware multiplies it, float32 elsewhere.

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
    warnings.warn(
        "Triton is not installed, so that steering on this GPU takes several passes over the residual; "
        "run: pip install triton",
        stacklevel=2,
    )
