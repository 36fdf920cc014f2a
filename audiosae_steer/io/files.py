"""Atomic files and folders, and links that do not lead out of an untrusted folder."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from safetensors import SafetensorError

from ..errors import AudioSAESteerError, ModelError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None

FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}
"""What a disk says when it takes no more."""
MARK = "audiosae-steer.json"
"""In every folder with a model that is written by this package; only such a one, or an empty one, is ever replaced."""


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


def check_free(to: Path) -> None:
    """Whether a model may be written to `to`: it is not there, is empty, or holds what this package wrote.

    Raises:
        ModelError: it holds something else, or cannot be looked into.
    """
    try:
        if to.resolve() == Path.cwd():
            raise ModelError(f"{to} is the folder that you are in, which cannot be replaced; name a new folder")
        if to.is_dir():
            if any(to.iterdir()) and not (to / MARK).is_file():
                raise ModelError(f"{to} is a folder with other files in it, which stay as they are; name a new folder")
        elif to.exists() or to.is_symlink():
            raise ModelError(f"{to} is there already, and is no folder; name a new folder")
    except (OSError, RuntimeError) as error:
        raise _unwritable(to, error, ModelError) from error


@contextmanager
def whole_folder(
    to: Path, check: Callable[[Path], None] = check_free, raising: type[AudioSAESteerError] = ModelError
) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `to` once the block has ended without an error.

    Until then, and after an error, `to` is as it was. What a killed process left beside it is put back, if it is the
    old folder on its way out, or removed.

    Args:
        to: the folder.
        check: raises if what is there may not be replaced; asked before and after the block.
        raising: the error for a folder that cannot be written.

    Raises:
        raising: `to` cannot be written, or what `check` raises.
    """
    try:
        if not to.is_symlink():
            _restore(to)
        check(to)
        to = to.resolve()
        to.parent.mkdir(parents=True, exist_ok=True)
        _sweep_folders(to)
        part = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name[:100]}.", suffix=".part"))
    except (OSError, RuntimeError) as error:  # the latter of links in a circle
        raise _unwritable(to, error, raising) from error
    held = _hold(part)
    try:
        try:
            yield part
        except (OSError, SafetensorError) as error:
            if isinstance(error, OSError) and error.errno not in FULL:
                raise
            raise _unwritable(to, error, raising) from error
        try:
            part.chmod(0o755)  # a temporary folder is its owner's alone
            _sync(part)
            check(to)
            _replace(part, to)
        except OSError as error:
            raise _unwritable(to, error, raising) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if held is not None:
            os.close(held)


def _replace(part: Path, to: Path) -> None:
    if not to.is_dir() or not any(to.iterdir()):
        os.replace(part, to)
        return
    old = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name[:100]}.", suffix=".old"))
    try:
        os.replace(to, old)
        os.replace(part, to)
    except BaseException:
        if not to.exists():
            os.replace(old, to)
        raise
    finally:
        if to.exists():
            shutil.rmtree(old, ignore_errors=True)


def _leftovers(to: Path, suffix: str) -> list[Path]:
    pattern = f".{glob.escape(to.name[:100])}.*{suffix}"
    return sorted(path for path in to.parent.glob(pattern) if path.is_dir() and not path.is_symlink())


def _restore(to: Path) -> None:
    """Put back what a process was replacing when it was killed."""
    if not to.exists():
        for old in _leftovers(to, ".old")[-1:]:
            os.replace(old, to)


def _hold(part: Path) -> int | None:
    """A lock on a folder that is being written, by which others see that its writer lives."""
    if fcntl is None:
        return None
    descriptor = os.open(part, os.O_RDONLY)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _sweep_folders(to: Path) -> None:
    """Remove what processes that no longer live were writing."""
    if fcntl is None:
        return
    for stale in _leftovers(to, ".part"):
        with suppress(OSError):
            descriptor = os.open(stale, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(stale, ignore_errors=True)
            finally:
                os.close(descriptor)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(to: Path, error: Exception, raising: type[AudioSAESteerError]) -> AudioSAESteerError:
    why = getattr(error, "strerror", None) or error
    return raising(f"{to} cannot be written ({why}); choose another folder, or make room")
