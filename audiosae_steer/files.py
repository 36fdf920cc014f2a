"""Files that are kept: written whole or not at all, and links that do not lead out of a stranger's folder."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from .errors import AudioSAESteerError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None


@contextmanager
def whole(path: str | Path, raising: type[AudioSAESteerError] = AudioSAESteerError) -> Iterator[Path]:
    """A temporary file to write into, which takes the place of `path` where the block ends without an error.

    A reader, or a crash at any moment, sees the old file or the new one. Folders that are missing are made. What a
    killed process left beside `path` is removed by the next write. A file that was there before keeps its permissions.

    Raises:
        raising: it cannot be written there.
    """
    path = Path(path)
    temporary, held = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary, held = _begin(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        with suppress(OSError):
            temporary.chmod(path.stat().st_mode & 0o777)
        os.replace(temporary, path)
        _settle(path.parent)
    except OSError as error:
        raise raising(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    finally:
        with suppress(OSError):
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        if held is not None:
            held.close()


def write_whole(path: str | Path, data: bytes | str, raising: type[AudioSAESteerError] = AudioSAESteerError) -> None:
    """Put `data`, text as UTF-8, at `path` in one step; see `whole`.

    Raises:
        raising: it cannot be written there.
    """
    with whole(path, raising) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def stays_inside(folder: Path, file: Path) -> bool:
    """Whether `file`, with links followed, lies in `folder`; or, of a folder in the Hub's cache, in its blobs.

    Raises:
        OSError, RuntimeError: the links lead in a circle.
    """
    home, real = folder.resolve(), file.resolve()
    # the cache is snapshots/COMMIT/… with links to ../../blobs
    blobs = [place.parent.parent / "blobs" for place in (home, *home.parents) if place.parent.name == "snapshots"]
    return any(real.is_relative_to(root) for root in (home, *blobs[:1]))


def _begin(path: Path) -> tuple[Path, BinaryIO | None]:
    """A new temporary beside `path`, and the open file whose lock says that its writer lives."""
    while True:
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
        file = temporary.open("xb")
        if fcntl is None:
            file.close()
            return temporary, None
        with suppress(OSError):  # a file system without locks: then nothing is swept there either
            fcntl.flock(file, fcntl.LOCK_EX)
        if temporary.exists():  # else another process swept it up before it was locked
            return temporary, file
        file.close()


def _sweep(path: Path) -> None:
    """Remove the temporaries of processes that no longer live."""
    for stale in path.parent.glob(f".{glob.escape(path.name[:100])}.*.part"):
        with suppress(OSError):
            if fcntl is None:
                stale.unlink()
                continue
            descriptor = os.open(stale, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()
            finally:
                os.close(descriptor)


def _settle(folder: Path) -> None:
    """Make a rename durable; not every file system lets one ask for it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
