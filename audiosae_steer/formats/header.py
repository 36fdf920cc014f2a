"""The header of a safetensors file, checked before anything is allocated for its tensors."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import NamedTuple

from ..errors import CheckpointError

MAX_HEADER = 10_000_000
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class Header(NamedTuple):
    """What a safetensors file says of itself."""

    shapes: dict[str, tuple[int, ...]]
    """Of each tensor."""
    metadata: dict[str, str]
    """Free text, by name."""


def read_header(path: Path) -> Header:
    """The header of `path`.

    Raises:
        CheckpointError: it is truncated, forged, or does not account for every byte of the file.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(8)
            length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
            size = path.stat().st_size
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise CheckpointError(f"{path} is no safetensors file, or is truncated; fetch it again")
            content = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no safetensors file, or is damaged ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: its metadata is not text by name; the file is damaged")
    end = size - 8 - length
    shapes = {name: _shape(path, name, entry, end) for name, entry in content.items()}
    return Header(shapes, metadata)


def _shape(path: Path, name: str, entry: object, end: int) -> tuple[int, ...]:
    try:
        shape = tuple(entry["shape"])  # type: ignore[index]
        first, last = entry["data_offsets"]  # type: ignore[index]
        width = _BYTES[entry["dtype"]]  # type: ignore[index]
        right = 0 <= first <= last <= end and last - first == math.prod(shape) * width
        right = right and all(isinstance(n, int) and n >= 0 for n in shape)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the header's entry for {name!r} is malformed ({error!r})") from error
    if not right:
        raise CheckpointError(f"{path}: {name!r} claims bytes that the file does not have; it is truncated or forged")
    return shape
