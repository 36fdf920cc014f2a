"""Torch files of strangers: loaded as plain tensors by name, or refused."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .header import MAX_BYTES
from .pickled import Stored, unpickle
from .torch_file import Place, describe, is_torch_file

__all__ = ["is_torch_file", "load_object", "load_state"]


def load_state(path: Path, stand_ins: Iterable[type] = (), *, mapped: bool = False) -> Mapping[str, Any]:
    """What a torch file holds, by name: `load_object`, if that is a state dict.

    Raises:
        CheckpointError: it is damaged, would run code, is compressed, or holds no state dict.
    """
    state = load_object(path, stand_ins, mapped=mapped)
    if type(state) is not dict or not all(type(key) is str for key in state):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict of tensors by name")
    return state


def load_object(path: Path, stand_ins: Iterable[type] = (), *, mapped: bool = False) -> object:
    """What a torch file holds. No code in it is ever run, and no more memory taken than the file is long.

    Args:
        path: the file.
        stand_ins: classes of ours to take for those of the same module and name that the file asks for.
        mapped: leave the tensors' numbers on disk: they come on the device `meta`, with names, dtypes and shapes.

    Raises:
        CheckpointError: it is damaged, would run code, or is compressed.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is no file; expected one that torch.save wrote")
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e9:.0f} GB, which no SAE of audio models is")
        classes = tuple(stand_ins)
        found = describe(path, classes)
        if mapped:
            return found.value
        with path.open("rb") as file:
            return unpickle(*found.pickle, make=_Storages(file, found.places).tensor, stand_ins=classes).value
    except CheckpointError:
        raise
    except Exception as error:  # of many kinds: of this file, of the disk, of the memory at hand
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors and would run code ({reason[:200]}); fetch it again, or "
            "ask its author for safetensors"
        ) from error


class _Storages:
    """The numbers of a file whose sizes were checked, each storage read once."""

    def __init__(self, file: io.BufferedReader, places: Mapping[str, Place]) -> None:
        self.file, self.places = file, places
        self.read: dict[str, torch.UntypedStorage] = {}

    def tensor(self, stored: Stored) -> Tensor:
        """The tensor of a description, in the memory of its storage."""
        storage, offset, shape, stride = stored
        if storage.key not in self.read:
            place = self.places[storage.key]
            numbers = torch.empty(place.size, dtype=torch.uint8)
            self.file.seek(place.first)
            if place.size and self.file.readinto(numbers.numpy().data) != place.size:
                raise ValueError("it ends in the middle of its tensors")
            self.read[storage.key] = numbers.untyped_storage()
        if 0 in shape:
            return torch.empty(shape, dtype=storage.dtype)
        return torch.empty(0, dtype=storage.dtype).set_(self.read[storage.key], offset, shape, stride)
