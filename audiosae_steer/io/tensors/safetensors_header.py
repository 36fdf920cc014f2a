"""Untrusted safetensors files: the header is checked, down to the last byte, before any tensor is allocated."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...errors import CheckpointError
from .. import strict_json

MAX_BYTES = 8_000_000_000
"""Of a file: seventy times AudioSAE's largest SAE, two matrices of 1280 × 10,240 in float32."""
MAX_HEADER = 4_000_000
"""Of the JSON of names and shapes, about a hundred bytes a tensor; safetensors itself allows 100 MB."""
MAX_SIZE = 1 << 24
"""Of one side of a tensor."""
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

Shape = tuple[int, ...]


class Header(NamedTuple):
    """Header of a safetensors file."""

    shapes: dict[str, Shape]
    """Of each tensor."""
    metadata: dict[str, str]
    """Free text, by name."""


class _Entry(NamedTuple):
    shape: Shape
    first: int
    last: int


def is_safetensors(path: Path) -> bool:
    """True if a file begins like one: eight bytes of length, then JSON. What follows may still be damaged."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(9)
        return start[8:] == b"{" and start[5:8] == bytes(3)  # a length below 2^40, as no text has it
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """The header of `path`.

    Raises:
        CheckpointError: it is truncated or forged, or does not account for every byte of the file.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is no file; expected one in safetensors")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e9:.0f} GB, which no SAE of audio models is")
        with path.open("rb") as file:
            raw = file.read(8)
            length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise CheckpointError(f"{path} is no safetensors file, or is truncated; fetch it again")
            content = strict_json.parse(file.read(length))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no safetensors file, or is damaged ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: its metadata is not text by name; the file is damaged")
    entries = {name: _entry(path, name, entry) for name, entry in content.items()}
    _account_for_every_byte(path, entries, size - 8 - length)
    return Header({name: entry.shape for name, entry in entries.items()}, metadata)


def check_shapes(
    where: Path | str, shapes: Mapping[str, Shape], expected: Mapping[str, Iterable[tuple[str, ...]]]
) -> None:
    """Hold shapes against each other.

    Args:
        where: the file, for the message.
        shapes: of each tensor; those absent from it are not checked.
        expected: the shapes a tensor may have, in letters: `{"W_enc": [("F", "d")], "b_enc": [("F",)]}`. A letter is
            bound where it first occurs.

    Raises:
        CheckpointError: a tensor disagrees with those before it, is empty, or has a side above `MAX_SIZE`.
    """
    sizes: dict[str, int] = {}
    for name, layouts in expected.items():
        if name not in shapes:
            continue
        shape = shapes[name]
        for layout in layouts:
            same = len(layout) == len(shape)
            if same and all(
                0 < n <= MAX_SIZE and sizes.get(letter, n) == n for letter, n in zip(layout, shape, strict=True)
            ):
                sizes.update(zip(layout, shape, strict=True))
                break
        else:
            wanted = " or ".join("(" + ", ".join(layout) + ")" for layout in layouts)
            known = ", ".join(f"{letter} = {n}" for letter, n in sizes.items())
            raise CheckpointError(
                f"{where}: {name} has shape {shape}; expected {wanted}{' with ' + known if known else ''}; it is "
                "damaged, or another kind of file"
            )


def load_tensors(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """The tensors `names` of a safetensors file, in memory of their own, as far as the file has them.

    Raises:
        CheckpointError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            present = set(file.keys())
            # a clone, because the file is mapped: replaced or cut short in place, it would take the process with it
            return {name: file.get_tensor(name).clone() for name in names if name in present}
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}); fetch it again") from error


def _entry(path: Path, name: str, entry: object) -> _Entry:
    fields = entry if isinstance(entry, dict) else {}
    shape, offsets = _whole(fields.get("shape")), _whole(fields.get("data_offsets"))
    width = _BYTES.get(str(fields.get("dtype")))
    if width is None:
        raise CheckpointError(f"{path}: {name!r} is of type {fields.get('dtype')!r}, which no SAE is stored in")
    if shape is None or offsets is None or len(offsets) != 2:
        raise CheckpointError(f"{path}: the header's entry for {name!r} is malformed; the file is damaged or forged")
    first, last = offsets
    if last - first != math.prod(shape) * width:
        raise CheckpointError(f"{path}: {name!r} has shape {shape} but {last - first} bytes; it is damaged or forged")
    return _Entry(tuple(shape), first, last)


def _whole(numbers: Any) -> list[int] | None:
    right = isinstance(numbers, list) and len(numbers) < 9 and all(type(n) is int and 0 <= n < 1 << 48 for n in numbers)
    return numbers if right else None


def _account_for_every_byte(path: Path, entries: Mapping[str, _Entry], size: int) -> None:
    reached = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].first, item[1].last)):
        if entry.first != reached:
            raise CheckpointError(f"{path}: {name!r} does not begin where the one before it ends; the file is forged")
        reached = entry.last
    if reached != size:
        raise CheckpointError(f"{path} holds {size} bytes of tensors, its header says {reached}; it is truncated")
