"""Atomic files and folders, and links that do not lead out of an untrusted folder."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from safetensors import SafetensorError

from ..errors import AudioSAESteerError, ModelError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted anyway
    fcntl = None

FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}
"""Error numbers of a disk that takes no more."""
PART, OLD = ".part", ".old"
"""Endings of a temporary, and of a folder that is being replaced."""
MARK = "audiosae-steer.json"
"""In every folder with a model that is written by this package; only such a one, or an empty one, is ever replaced."""


@contextmanager
def atomic_file(path: str | Path, raising: type[AudioSAESteerError] = AudioSAESteerError) -> Iterator[Path]:
    """A temporary file to write into, which atomically replaces `path` once the block ends without an error.

    A reader, or a crash at any moment, sees the old file or the new one. Folders that are missing are made. The
    leftovers of a killed process beside `path` are removed by the next write. A file that was there before keeps its
    permissions; a new one has those of any new file.

    Raises:
        raising: it cannot be written there.
    """
    path = Path(path)
    temporary, lock = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path, PART)
        temporary, lock = _begin(path, lambda: _new_file(path))
        mode = temporary.stat().st_mode & 0o777
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        with suppress(OSError):
            # safetensors puts a file of its own, which others may not read, in the temporary's place
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else mode)
        os.replace(temporary, path)
        _settle(path.parent)
    except OSError as error:
        raise raising(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    finally:
        with suppress(OSError):
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def write_atomic(path: str | Path, data: bytes | str, raising: type[AudioSAESteerError] = AudioSAESteerError) -> None:
    """Write `data`, text as UTF-8, to `path` atomically; see `atomic_file`.

    Raises:
        raising: it cannot be written there.
    """
    with atomic_file(path, raising) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let one process or thread at a time into the block, for the same folder, which is there.

    Where the file system or the machine has no such locks, there is no lock.
    """
    lock = None
    if fcntl is not None:
        with suppress(OSError):
            lock = _open(folder.resolve())
            fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def stays_inside(folder: Path, file: Path) -> bool:
    """True if `file`, with links followed, lies in `folder`; or, of a folder in the Hub's cache, in its blobs.

    Raises:
        OSError, RuntimeError: the links lead in a circle.
    """
    home, real = folder.resolve(), file.resolve()
    # the cache is snapshots/COMMIT/… with links to ../../blobs
    blobs = [place.parent.parent / "blobs" for place in (home, *home.parents) if place.parent.name == "snapshots"]
    return any(real.is_relative_to(root) for root in (home, *blobs[:1]))


def check_free(to: Path) -> None:
    """Refuse to write a model to `to` unless it is not there, is empty, or holds what this package wrote.

    Raises:
        ModelError: it holds something else, or cannot be read.
    """
    try:
        if to.resolve() == Path.cwd():
            raise ModelError(f"{to} is the folder that you are in, which cannot be replaced; name a new folder")
        if to.is_dir():
            if any(to.iterdir()) and not (to / MARK).is_file():
                raise ModelError(
                    f"{to} is a folder with other files in it, which are left unchanged; name a new folder"
                )
        elif to.exists() or to.is_symlink():
            raise ModelError(f"{to} is there already, and is no folder; name a new folder")
    except (OSError, RuntimeError) as error:
        raise _unwritable(to, error, ModelError) from error


@contextmanager
def atomic_folder(
    to: Path, check: Callable[[Path], None] = check_free, raising: type[AudioSAESteerError] = ModelError
) -> Iterator[Path]:
    """A new folder to write into, which atomically replaces `to` once the block ends without an error.

    Until then, and after an error, `to` is unchanged. The leftovers of a killed process beside it are put back, if they
    are the old folder that it was replacing, or removed.

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
        _sweep(to, PART)
        part, lock = _begin(to, lambda: _new_folder(to, PART))
    except (OSError, RuntimeError) as error:  # the latter of links in a circle
        raise _unwritable(to, error, raising) from error
    try:
        try:
            yield part
        except (OSError, SafetensorError) as error:
            if isinstance(error, OSError) and error.errno not in FULL:
                raise
            raise _unwritable(to, error, raising) from error
        try:
            _open_to_readers(part)
            _sync(part)
            check(to)
            _replace(part, to)
        except OSError as error:
            raise _unwritable(to, error, raising) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _replace(part: Path, to: Path) -> None:
    if not to.is_dir() or not any(to.iterdir()):
        os.replace(part, to)
        return
    old = _new_folder(to, OLD)
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


def _restore(to: Path) -> None:
    """Put back the folder that a process was replacing when it was killed."""
    if not to.exists():
        for old in [path for path in _leftovers(to, OLD) if path.is_dir()][-1:]:
            os.replace(old, to)


def _new_file(path: Path) -> Path:
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}{PART}")
    temporary.open("xb").close()
    return temporary


def _new_folder(to: Path, suffix: str) -> Path:
    folder = to.parent / f".{to.name[:100]}.{secrets.token_hex(6)}{suffix}"
    folder.mkdir()
    return folder


def _open_to_readers(folder: Path) -> None:
    """Give every file in a new folder the permissions of any new file: some libraries write for their owner alone."""
    probe = _new_file(folder / "mode")
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


def _leftovers(path: Path, suffix: str) -> list[Path]:
    pattern = f".{glob.escape(path.name[:100])}.*{suffix}"
    return sorted(found for found in path.parent.glob(pattern) if not found.is_symlink())


def _begin(path: Path, make: Callable[[], Path]) -> tuple[Path, int | None]:
    """A new temporary beside `path`, and the descriptor of the lock that tells other processes that its writer lives.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        temporary = make()
        if fcntl is None:
            return temporary, None
        with suppress(FileNotFoundError):  # another process swept it up before it was locked
            lock = _open(temporary)
            with suppress(OSError):  # a file system without locks: then nothing is swept there either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if temporary.exists():
                return temporary, lock
            os.close(lock)


def _sweep(path: Path, suffix: str) -> None:
    """Remove the temporaries beside `path`, files and folders, of processes that no longer live."""
    for stale in _leftovers(path, suffix):
        with suppress(OSError):
            if fcntl is None:
                stale.unlink()  # which fails while the file is open, and for a folder
                continue
            lock = _open(stale)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stale.is_dir():
                    shutil.rmtree(stale, ignore_errors=True)
                else:
                    stale.unlink()
            finally:
                os.close(lock)


def _open(path: Path) -> int:
    """A descriptor to lock: open for writing if it can be, without which NFS locks no file."""
    return os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW)


def _settle(path: Path) -> None:
    """Make a rename in a folder durable; not every file system lets one ask for it."""
    with suppress(OSError):
        _fsync(path)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(to: Path, error: Exception, raising: type[AudioSAESteerError]) -> AudioSAESteerError:
    why = getattr(error, "strerror", None) or error
    return raising(f"{to} cannot be written ({why}); choose another folder, or make room")
