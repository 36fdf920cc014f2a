"""Torch files of strangers: loaded as plain tensors by name, or refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

MAX_BYTES = 8_000_000_000
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as `torch.save` writes it, today (a zip) or long ago (a pickle)."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False
    return start == _ZIP or start[:1] == _PICKLE


def load_state(path: Path, *, mapped: bool = False) -> Mapping[str, Any]:
    """What a torch file holds, by name. No code in it is ever run.

    Args:
        path: the file.
        mapped: leave the tensors' numbers on disk, where the file allows it: enough to see names and shapes.

    Raises:
        CheckpointError: it is damaged, would run code, is compressed, or holds no state dict.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e9:.0f} GB, which no SAE of audio models is")
        zipped = zipfile.is_zipfile(path)
        if zipped:
            _check_zip(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipped)
    except CheckpointError:
        raise
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors and would run code ({first[:200]}); fetch it again, or ask "
            "its author for safetensors"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict of tensors by name")
    for name, value in state.items():
        if isinstance(value, Tensor):
            _check_tensor(path, name, value)
    return state


def _check_zip(path: Path) -> None:
    """Refuse what unpacks to more than it is: `torch.save` never compresses."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(f"{path} unpacks to more than its size, as torch files never do; do not trust it")


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse what claims more elements than its file holds (a stride of 0), and what is no plain tensor."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    if not plain or tensor.is_meta or tensor.is_quantized:
        raise CheckpointError(f"{path}: {name!r} is no plain tensor of numbers; ask its author for safetensors")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{path}: {name!r} claims shape {tuple(tensor.shape)} but stores less; it is forged")
