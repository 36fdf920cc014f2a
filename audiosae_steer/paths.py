"""Paths that were typed by somebody, before anything is read from them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .errors import AudioSAESteerError, CheckpointError

_NOTHING = {errno.ENOENT, errno.ENOTDIR}


def local(source: str | Path, raising: type[AudioSAESteerError] = CheckpointError) -> Path:
    """`source` with `~` expanded; there need be nothing, but what is there can be asked and read without an OSError.

    Raises:
        raising: the system does not let it be read, or not say whether it is there: a folder or file without
            permission, a name that is too long, a home folder of nobody.
    """
    try:
        path = Path(source).expanduser()
        if stat.S_ISREG(os.stat(path).st_mode):
            with path.open("rb") as file:
                file.read(1)
    except OSError as error:
        if error.errno not in _NOTHING:
            reason = error.strerror or error
            raise raising(f"cannot read {source}: {reason}; check the path and its permissions") from error
    except (RuntimeError, ValueError) as error:  # a user without a home folder; a NUL in the name
        raise raising(f"{str(source)!r} is no path here: {error}; write it in full") from error
    return path
