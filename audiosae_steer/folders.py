"""A folder that is written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ModelError

MARK = "audiosae-steer.json"
"""In every folder that is written by this package; only such a folder, or an empty one, is ever replaced."""


@contextmanager
def whole_folder(to: Path) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `to` once the block has ended without an error.

    Until then, and after an error, `to` is as it was. What is written has to hold `MARK`.

    Raises:
        ModelError: `to` holds something that this package did not write, or cannot be written.
    """
    _check(to)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}.", suffix=".part"))
    except OSError as error:
        raise _unwritable(to, error) from error
    try:
        yield part
        try:
            part.chmod(0o755)  # a temporary folder is its owner's alone
            _sync(part)
            _check(to)
            _replace(part, to)
        except OSError as error:
            raise _unwritable(to, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check(to: Path) -> None:
    if to.is_dir():
        if any(to.iterdir()) and not (to / MARK).is_file():
            raise ModelError(f"{to} is a folder with other files in it, which stay as they are; name a new folder")
    elif to.exists() or to.is_symlink():
        raise ModelError(f"{to} is there already, and is no folder; name a new folder")


def _replace(part: Path, to: Path) -> None:
    if not to.is_dir() or not any(to.iterdir()):
        os.replace(part, to)
        return
    old = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}.", suffix=".old"))
    try:
        os.replace(to, old)
        try:
            os.replace(part, to)
        except BaseException:
            os.replace(old, to)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unwritable(to: Path, error: OSError) -> ModelError:
    return ModelError(f"{to} cannot be written ({error.strerror or error}); choose another folder, or make room")
