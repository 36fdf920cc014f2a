"""Torch files of strangers: loaded as plain tensors by name, or refused."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import CheckpointError
from .header import is_safetensors

MAX_BYTES = 8_000_000_000
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_LOADING = threading.Lock()

StandIns = tuple[type, ...]
T = TypeVar("T")


def stand_in(path: str, base: type) -> type:
    """A class of ours that the unpickler takes where a file names `path`, "module.Class": nothing of theirs is run."""
    module, _, name = path.rpartition(".")
    return type(name, (base,), {"__module__": module, "__qualname__": name})


class _Skipped:
    """Stands for a value that nobody reads."""

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


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as `torch.save` writes it, today (a zip) or long ago (a pickle); `.npz` is another zip."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError:
        return False
    # one safetensors file in 256 begins like a pickle
    return (start[:1] == _PICKLE and not is_safetensors(path)) or (start == _ZIP and not is_npz(path))


def is_npz(path: Path) -> bool:
    """Whether a file is a whole zip of arrays, as `numpy.savez` writes it."""
    try:
        with path.open("rb") as file:
            if file.read(4) != _ZIP:
                return False
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def torch_files(names: Sequence[str]) -> list[str]:
    """Of a place's files, the one torch file and the settings beside it, settings first; none if there are several."""
    by_name = {name.rsplit("/", 1)[-1]: name for name in names}
    weights = [name for name in names if name.endswith((".pt", ".pth"))]
    for usual in ("ae.pt", "bestval.pth"):
        if len(weights) > 1 and usual in by_name:
            weights = [by_name[usual]]
    if len(weights) != 1:
        return []
    settings = [name for name in names if name.endswith(".json")]
    if "config.json" in by_name:
        settings = [by_name["config.json"]]
    return [*(settings if len(settings) == 1 else []), *weights]


def torch_file_in(path: Path, holds: Callable[[Path, T], bool], load: Callable[[Path], T]) -> Path | None:
    """The one torch file at `path`, a file or a folder, of whose content `holds` says so; None if there is none."""
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
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
    """As `load_state`, with the tensors' numbers left on disk where the file allows it: to see names and shapes."""
    return _state(path, load_object(path, mapped=True, stand_ins=stand_ins))


def load_state(path: Path, stand_ins: StandIns = ()) -> Mapping[str, Any]:
    """What a torch file holds, by name. No code in it is ever run.

    Args:
        path: the file.
        stand_ins: classes, by `stand_in`, to take for those that the file names.

    Raises:
        CheckpointError: it is damaged, would run code, is compressed, or holds no state dict.
    """
    return _state(path, load_object(path, stand_ins=stand_ins))


def load_object(path: Path, *, mapped: bool = False, stand_ins: StandIns = ()) -> object:
    """What a torch file holds, be it a state dict or not. No code in it is ever run.

    Raises:
        CheckpointError: it is damaged, would run code, or is compressed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e9:.0f} GB, which no SAE of audio models is")
        zipped = zipfile.is_zipfile(path)
        if zipped:
            _check_zip(path)
        with _known(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipped)
    except CheckpointError:
        raise
    except Exception as error:  # a hostile pickle can make the unpickler raise anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} is damaged, or holds more than tensors and would run code ({first[:200]}); fetch it again, or ask "
            "its author for safetensors"
        ) from error


def _state(path: Path, state: object) -> Mapping[str, Any]:
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict of tensors by name")
    check_tensors(path, state)
    return state


def check_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Refuse a tensor that claims more elements than its file holds (a stride of 0), or is no plain tensor.

    Raises:
        CheckpointError: there is one.
    """
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            continue
        plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
        if not plain or tensor.is_meta or tensor.is_quantized:
            raise CheckpointError(f"{path}: {name!r} is no plain tensor of numbers; ask its author for safetensors")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{path}: {name!r} claims shape {tuple(tensor.shape)} but stores less; it is forged")


@contextmanager
def _known(stand_ins: StandIns) -> Iterator[None]:
    """The unpickler's list of classes with `stand_ins` on it, and afterwards as it was."""
    if not stand_ins:
        yield
        return
    with _LOADING:
        before = torch.serialization.get_safe_globals()
        torch.serialization.add_safe_globals(list(stand_ins))
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def _check_zip(path: Path) -> None:
    """Refuse what unpacks to more than it is: `torch.save` never compresses."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError(f"{path} unpacks to more than its size, as torch files never do; do not trust it")
