"""Untrusted torch files: loaded as plain tensors by name, or refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...errors import CheckpointError
from .pickle_reader import Stored, unpickle
from .safetensors_header import MAX_BYTES
from .torch_file import Place, describe, is_torch_file

__all__ = ["NUMBERS", "StandIns", "is_torch_file", "load_object", "load_state", "names_of", "stand_in"]
StandIns = tuple[type, ...]
T = TypeVar("T")


def stand_in(path: str, base: type) -> type:
    """A class that the unpickler takes where a file names `path`, "module.Class": none of the file's code is run."""
    module, _, name = path.rpartition(".")
    return type(name, (base,), {"__module__": module, "__qualname__": name})


class _Skipped:
    """Stand-in for a value that is not read."""

    def __new__(cls, *_: object) -> _Skipped:
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


# numbers of NumPy's, which training loops leave beside the tensors: a mean loss, the best so far
NUMBERS: StandIns = tuple(
    stand_in(path, _Skipped)
    for path in (
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtype",
        "numpy.dtypes.Float32DType",
        "numpy.dtypes.Float64DType",
    )
)


_USUAL = ("ae.pt", "bestval.pth")
"""Of several torch files the one to take, beside checkpoints of the training that made it."""


def torch_files(names: Sequence[str]) -> list[str]:
    """Of a place's files, the one torch file and the settings beside it, settings first; none if there are several."""
    by_name = {name.rsplit("/", 1)[-1]: name for name in names}
    weights = [name for name in names if name.endswith((".pt", ".pth"))]
    for usual in _USUAL:
        if len(weights) > 1 and usual in by_name:
            weights = [by_name[usual]]
    if len(weights) != 1:
        return []
    settings = [name for name in names if name.endswith(".json")]
    if "config.json" in by_name:
        settings = [by_name["config.json"]]
    return [*(settings if len(settings) == 1 else []), *weights]


def torch_file_in(path: Path, holds: Callable[[Path, T], bool], load: Callable[[Path], T]) -> Path | None:
    """The one torch file at `path`, a file or a folder, whose content `holds` accepts; None if there is no such one.

    Of a folder's, `ae.pt` or `bestval.pth` is taken, as `torch_files` has it.
    """
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    files = next(([file] for usual in _USUAL for file in files if path != file and file.name == usual), files)
    found = []
    for file in files:
        if file.is_file() and is_torch_file(file):
            try:
                content = load(file)
            except CheckpointError:
                continue
            if holds(file, content):
                found.append(file)
    return found[0] if len(found) == 1 else None


def names_of(path: Path, stand_ins: StandIns = ()) -> Mapping[str, Any]:
    """As `load_state`, with the tensors on the device `meta`: to see names and shapes before numbers are read."""
    return load_state(path, stand_ins, mapped=True)


def load_state(path: Path, stand_ins: StandIns = (), *, mapped: bool = False) -> Mapping[str, Any]:
    """The state dict in a torch file, as `load_object` reads it.

    Raises:
        CheckpointError: it is damaged, would run code, is compressed, or holds no state dict.
    """
    state = load_object(path, stand_ins, mapped=mapped)
    if type(state) is not dict or not all(type(key) is str for key in state):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict of tensors by name")
    return state


def load_object(path: Path, stand_ins: StandIns = (), *, mapped: bool = False) -> object:
    """Content of a torch file. No code in it is ever run, and no more memory taken than the file is long.

    Args:
        path: the file.
        stand_ins: classes of this package to take for those of the same module and name that the file asks for.
        mapped: leave the tensors' numbers on disk: they come on the device `meta`, with names, dtypes and shapes.

    Raises:
        CheckpointError: it is damaged, would run code, or is compressed.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is no file; expected one that torch.save wrote")
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e9:.0f} GB, which no SAE of audio models is")
        found = describe(path, stand_ins)
        if mapped:
            return found.value
        with path.open("rb") as file:
            return unpickle(*found.pickle, make=_Storages(file, found.places).tensor, stand_ins=stand_ins).value
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
