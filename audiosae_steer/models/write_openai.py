"""Whisper weights into an openai-whisper `.pt` file, which `whisper.load_model` takes by its path."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from .weights import Weights

DTYPES = {"float16": torch.float16, "float32": torch.float32}


def write(weights: Weights, path: Path, dtype: str = "float16") -> None:
    """A dict of `dims` and `model_state_dict`, as OpenAI's own files are.

    Args:
        weights: what to write.
        path: the file, ending in `.pt`.
        dtype: `float16`, as released, or `float32`; loaded, it is float32 in either case.

    Raises:
        ModelError: there is no such dtype for this format, or a weight is too large for it.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype is {dtype!r}; openai-whisper's files hold {' or '.join(DTYPES)}")
    state = {name: _narrowed(name, tensor, DTYPES[dtype]) for name, tensor in weights.state.items()}
    torch.save({"dims": dict(weights.dims), "model_state_dict": state}, path)


def _narrowed(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # a copy: a view would be saved with all that it is a view of
    found = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    if not torch.isfinite(found).all():
        raise ModelError(f"{name} is too large for {dtype}, or holds NaN; write it as float32")
    return found
