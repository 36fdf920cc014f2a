"""Digests of tensors, which name their content in caches and in files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def sha256_of_tensors(
    tensors: Iterable[Tensor | None], prefix: str = "", dtype: torch.dtype | None = torch.float32
) -> str:
    """sha256 over the numbers of tensors, one after the other, in hex.

    Args:
        tensors: of any shape and device; None is left out. Shapes are not hashed: put them into `prefix` if they count.
        prefix: text that is hashed before them.
        dtype: what they are converted to first, so that a narrower copy's digest is that of its numbers; None: nothing.
    """
    digest = hashlib.sha256(prefix.encode())
    for tensor in tensors:
        if tensor is not None:
            content = tensor.detach().to(device="cpu", dtype=dtype or tensor.dtype).contiguous()
            digest.update(content.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
