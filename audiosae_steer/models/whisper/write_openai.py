"""Whisper weights into an openai-whisper `.pt` file, which `whisper.load_model` takes by its path."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ModelError
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
        OSError: the file cannot be written.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype is {dtype!r}; openai-whisper's files hold {' or '.join(DTYPES)}")
    state = {name: _narrowed(name, tensor, DTYPES[dtype]) for name, tensor in weights.state.items()}
    with path.open("wb") as file:  # of a path torch makes a RuntimeError where the disk is full
        torch.save({"dims": dict(weights.dims), "model_state_dict": state}, file)


def heads_line(weights: Weights) -> str | None:
    """A line of Python that gives a loaded `model` its alignment heads, which the file does not hold.

    None: they are those that `whisper.load_model` assumes of any file.
    """
    layers, count = weights.dims["n_text_layer"], weights.dims["n_text_head"]
    heads = torch.zeros(layers, count, dtype=torch.bool)
    for layer, head in weights.alignment_heads:
        heads[layer, head] = True
    if not heads.any() or torch.equal(heads, (torch.arange(layers) >= layers // 2)[:, None].expand(-1, count)):
        return None
    dump = base64.b85encode(gzip.compress(heads.numpy().tobytes(), mtime=0))
    return f"model.set_alignment_heads({dump!r})  # for word timestamps alone"


def _narrowed(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    # a copy: a view would be saved with all that it is a view of
    found = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    if not torch.isfinite(found).all():
        raise ModelError(f"{name} is too large for {dtype}, or holds NaN; write it as float32")
    return found
