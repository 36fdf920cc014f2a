"""Folders of output, on disk or in an object store: files appear in them whole, and once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar, runtime_checkable

from ...errors import MissingExtraError, WorkError
from ..files import PART, write_atomic
from .unit_failures import is_transient

T = TypeVar("T")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
"""Extra that reads a protocol, by protocol."""
RETRIES, WAIT = 3, 0.5
"""Retries of what is transient, and seconds before the first of them; each later one waits twice as long."""


@runtime_checkable
class Store(Protocol):
    """A folder of output. It is pickled to workers, and so holds no connection and no credentials."""

    def names(self, under: str) -> list[str]:
        """Names of the files below a folder of it, sorted; "" is all of it."""

    def has(self, name: str) -> bool:
        """True if the file is there."""

    def read(self, name: str) -> bytes:
        """Content of a file. FileNotFoundError: it is not there."""

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        """Write a file atomically; unless it may be replaced, one that is there is of the same unit, and stays."""


@dataclass(frozen=True)
class FolderStore:
    """A folder on a disk, or on a file system that machines share."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def names(self, under: str) -> list[str]:
        """Names of the files below a folder of it, without temporaries."""
        top = self.folder / under
        found = []
        for place, _, files in os.walk(top):
            here = Path(place).relative_to(self.folder)
            found += [(here / name).as_posix() for name in files if not name.endswith(PART)]
        return sorted(found)

    def has(self, name: str) -> bool:
        """True if the file is there."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """Content of a file. FileNotFoundError: it is not there."""
        return (self.folder / name).read_bytes()

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        """Write a file: a temporary beside it, fsync, rename, fsync of the folder.

        Raises:
            WorkError: it cannot be written there, or the name leads out of the folder.
        """
        parts = PurePosixPath(name).parts
        if ".." in parts or not parts or name.startswith("/") or "\0" in name:
            raise WorkError(f"{name!r} would be written outside of {self}; rename that input")
        if replace or not self.has(name):
            write_atomic(self.folder / name, content, WorkError)


@dataclass(frozen=True)
class ObjectStore:
    """A place in an object store, by fsspec: each file one PUT, which is refused if the file is there."""

    url: str

    def __str__(self) -> str:
        return self.url

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        fs, root = file_system(self.url)
        return fs, root.rstrip("/")

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)

    def names(self, under: str) -> list[str]:
        """Names of the files below a folder of it."""
        fs, root = self._opened
        fs.invalidate_cache()
        found = fs.find(f"{root}/{under}".rstrip("/"))
        return sorted(path[len(root) + 1 :] for path in found)

    def has(self, name: str) -> bool:
        """True if the file is there."""
        fs, root = self._opened
        fs.invalidate_cache()
        return bool(fs.exists(f"{root}/{name}"))

    def read(self, name: str) -> bytes:
        """Content of a file. FileNotFoundError: it is not there."""
        fs, root = self._opened
        return bytes(fs.cat_file(f"{root}/{name}"))

    def put(self, name: str, content: bytes, *, replace: bool = False) -> None:
        """Write a file by one PUT, create-only unless it may be replaced. That it is there means someone was first."""
        fs, root = self._opened
        try:
            fs.pipe_file(f"{root}/{name}", content, mode="overwrite" if replace else "create")
        except FileExistsError:
            return
        except OSError as error:  # 412, or 409 of two creates at once, where the library has no exception for them
            if not replace and any(word in str(error) for word in ("PreconditionFailed", "ConditionalRequestConflict")):
                return
            raise


def open_store(place: str | Path) -> FolderStore | ObjectStore:
    """The folder of output at a path or URL (`s3://`, `gs://`, `az://`, `hf://`, `memory://`), which need not be there.

    Raises:
        WorkError: there is no such protocol.
        MissingExtraError: what reads it is not installed.
    """
    if not is_url(place):
        return FolderStore(Path(str(place).removeprefix("file://")).expanduser())
    file_system(str(place))
    return ObjectStore(str(place).rstrip("/"))


def is_url(place: str | Path) -> bool:
    """True of places that fsspec reads, and not of paths."""
    return "://" in str(place) and not str(place).startswith("file://")


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it; credentials come from the environment.

    Raises:
        WorkError: there is no such protocol.
        MissingExtraError: what reads it is not installed.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        advice = f"pip install 'audiosae-steer[{extra}]'" if extra else "pip install what that message names"
        raise MissingExtraError(f"{protocol}:// is read through a package that is not installed ({error}); run: "
                                f"{advice}") from error  # fmt: skip
    except ValueError as error:
        raise WorkError(
            f"{protocol}:// cannot be read ({error}); expected a folder, s3://, gs://, az:// or hf://"
        ) from error
    return fs, str(path)


def steadily(call: Callable[[], T]) -> T:
    """The result of a call, tried again three times, with growing waits, while its error is transient.

    Raises:
        WorkError: it does not come, and why.
    """
    for number in range(RETRIES + 1):
        try:
            return call()
        except (OSError, WorkError) as error:
            if number == RETRIES or not is_transient(error):
                if isinstance(error, OSError):
                    raise WorkError(f"the output cannot be read or written: {error}; check the place, and run the same "
                                    "command again") from error  # fmt: skip
                raise
            time.sleep(WAIT * 2**number)
    raise AssertionError
