"""Arrays of untrusted `.npz` files: each header is checked before its array is allocated; no pickle is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ...errors import CheckpointError
from .zip_archive import opened

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 8_000_000_000
"""Of all arrays, unpacked: as of a safetensors file."""
MAX_HEADER = 10_000
"""numpy's own default of `max_header_size`, beyond which it deems a header unsafe to evaluate."""
# the weights of an SAE hardly compress; what unpacks to far more than it is was made to fill memory
MAX_RATIO, SMALL = 20, 1_000_000
# whole numbers become int64, eight times an int8; an SAE has but few of them, such as its k
MAX_WHOLE = 1000
_KINDS = "fiu"


class _Array(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    columns_first: bool


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each array in a file, by name; no array is read.

    Raises:
        CheckpointError: it is damaged, too large, made to fill memory, or holds anything but arrays of numbers.
    """
    return {name: array.shape for name, array in _opened(path, ())[0].items()}


def load_npz(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """The arrays `names` of a file, as far as it has them.

    Raises:
        CheckpointError: as `npz_shapes`; or one of them holds more than `MAX_WHOLE` whole numbers.
    """
    return _opened(path, names)[1]


def _opened(path: Path, names: Iterable[str]) -> tuple[dict[str, _Array], dict[str, Tensor]]:
    wanted, headers, tensors = set(names), {}, {}
    try:
        with opened(path) as archive:
            _check_sizes(path, archive)
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name in headers or not entry.filename.endswith(".npy"):
                    raise CheckpointError(f"{path} holds {entry.filename[:80]!r} twice, or as no array; it is forged")
                with archive.open(entry) as file:
                    headers[name] = header = _header(path, name, file, entry.file_size)
                    if name in wanted:
                        if header.dtype.kind != "f" and math.prod(header.shape) > MAX_WHOLE:
                            raise CheckpointError(
                                f"{path}: {name} is {math.prod(header.shape):,} numbers of type {header.dtype}; "
                                "expected floating point, as weights are"
                            )
                        tensors[name] = _tensor(file, header)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for damaged files
        raise CheckpointError(f"{path} is damaged, or no .npz file ({str(error)[:200]}); fetch it again") from error
    return headers, tensors


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    packed, unpacked = path.stat().st_size, sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_BYTES:
        raise CheckpointError(f"{path} unpacks to {unpacked / 1e9:.0f} GB, which no SAE of audio models does; not read")
    if unpacked > max(SMALL, MAX_RATIO * packed):
        raise CheckpointError(
            f"{path} unpacks to {unpacked / packed:.0f} times its size, as weights never do; do not trust it"
        )


def _header(path: Path, name: str, file: IO[bytes], size: int) -> _Array:
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise CheckpointError(f"{path}: {name[:80]!r} is of .npy version {version}; expected 1.0 or 2.0")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, columns_first, dtype = read(file, max_header_size=MAX_HEADER)
    if dtype.kind not in _KINDS or dtype.names or dtype.subdtype:
        raise CheckpointError(f"{path}: {name[:80]!r} is of type {dtype}, which no SAE is stored in")
    if file.tell() + math.prod(shape) * dtype.itemsize != size or min(shape, default=0) < 0:
        raise CheckpointError(f"{path}: {name[:80]!r} claims shape {shape}, which its bytes are not; it is forged")
    return _Array(dtype, shape, columns_first)


def _tensor(file: IO[bytes], header: _Array) -> Tensor:
    import numpy as np

    flat = np.frombuffer(bytearray(file.read()), dtype=header.dtype)
    array = flat.reshape(header.shape, order="F" if header.columns_first else "C")
    # a copy in this machine's order of bytes; a tensor cannot have unsigned integers of every width
    native = np.ascontiguousarray(array).astype(
        header.dtype.newbyteorder("=") if header.dtype.kind == "f" else np.int64
    )
    return torch.from_numpy(native.reshape(header.shape))
