"""The native file's writer: tensors and metadata into one safetensors file, or into parts with an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..io import strict_json
from ..io.files import write_atomic
from ..io.tensors.safetensors_header import MAX_HEADER
from ..io.tensors.sharded import SHARD_BYTES, clear_shards, split, write_shards

FORMAT = "audiosae-steer"
SCHEMA = "1"
REQUIRED = ("W_enc", "b_enc", "W_dec", "b_dec")
OPTIONAL = ("threshold", "typical", "gain")


def write_native(
    path: str | Path,
    tensors: Mapping[str, Tensor | None],
    numbers: Mapping[str, str],
    info: Mapping[str, Any],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a native file atomically; missing folders are made.

    Args:
        path: of the file; above `shard_bytes` it is written in parts with an index, `NAME.safetensors.index.json`.
        tensors: by name, `REQUIRED` and `OPTIONAL`; None is left out.
        numbers: the rest of what running the SAE needs, as the header's metadata has it.
        info: the SAE's origin and its measurements; plain JSON.
        shard_bytes: most bytes of tensors that one file holds.

    Raises:
        CheckpointError: the file cannot be written there, `info` is not JSON, or a weight is not finite.
    """
    from safetensors.torch import save

    path = Path(path)
    kept: dict[str, Tensor] = {}
    for name in (*REQUIRED, *OPTIONAL):
        tensor = tensors[name]
        if tensor is None:
            continue
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} holds NaN or infinite numbers; such an SAE cannot be read back: not saved")
        # a clone, because tensors that share memory are refused by the library
        kept[name] = tensor.detach().cpu().contiguous().clone()
    metadata = {"format": FORMAT, "schema": SCHEMA, **numbers, "info": _text_of(info)}
    parts = split(kept, shard_bytes)
    if len(parts) > 1:
        write_shards(path, parts, metadata)
        return
    write_atomic(path, save(kept, metadata), CheckpointError)
    clear_shards(path)


def _text_of(info: Mapping[str, Any]) -> str:
    """JSON that reads back."""
    try:
        text = json.dumps(info, allow_nan=False)
        strict_json.parse(text)  # what could not be read back is not written
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the SAE's info is not plain JSON ({error}); keep to strings, finite numbers, lists and dicts"
        ) from error
    if len(json.dumps(text)) > MAX_HEADER - 100_000:  # as text within the header, where quotes cost two bytes
        raise CheckpointError(f"the SAE's info is {len(text) / 1e6:.0f} MB of JSON; keep it to what describes the SAE")
    return text
