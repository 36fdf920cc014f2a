"""Untrusted zips, opened without reading a directory longer than `numpy.savez` or `torch.save` writes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_DIRECTORY = 1_000_000
"""Bytes; about 10,000 entries."""


class _Bounded(io.BufferedReader):
    """A file of which, while `bounded`, no more is read at once than a directory may be long."""

    bounded = True

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.bounded:
            return super().read(size)
        if size is None or size < 0:
            size = MAX_DIRECTORY
        if size > MAX_DIRECTORY:
            raise ValueError("its directory is larger than that of a zip of tensors")
        return super().read(size)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, to be read.

    Raises:
        ValueError, OSError, zipfile.BadZipFile, NotImplementedError: it is damaged, or its directory is too long.
    """
    with _Bounded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        file.bounded = False
        yield archive


def is_npz(path: Path) -> bool:
    """True if a file is a complete zip of arrays, as `numpy.savez` writes it."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with opened(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)
