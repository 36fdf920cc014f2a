"""Paths as users type them, checked before anything is read; and texts without their absolute paths."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

from ..errors import AudioSAESteerError, CheckpointError

_NOTHING = {errno.ENOENT, errno.ENOTDIR}


def local(source: str | Path, raising: type[AudioSAESteerError] = CheckpointError) -> Path:
    """`source` with `~` expanded; there need be nothing, but what is there can be asked and read without an OSError.

    Raises:
        raising: the system does not let it be read, or not say whether it is there: a folder or file without
            permission, a name that is too long, the home folder of an unknown user.
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


_PART = r"[/\\][^\s/\\'\",;:*?<>|]+"
_PATH = re.compile(rf"(?<![\w.:/\\~-])(?:file://(?:{_PART})+|(?:~\w*|[A-Za-z]:)(?:{_PART})+|(?:{_PART}){{2,}})[/\\]?")
_WHOLE = re.compile(r"(?:file://|~|[A-Za-z]:)?[/\\][^\n'\"]*[/\\][^\n'\"]*")


def without_places(value: Any) -> Any:
    """JSON content with the last part of each absolute path in place of the whole.

    Paths with spaces are known where they are all that a string holds, are quoted, or lie below the user's home.
    """
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, dict):
        return {_shortened(key) if isinstance(key, str) else key: without_places(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(each) for each in value]
    return value


def _shortened(text: str) -> str:
    if _WHOLE.fullmatch(text) and not re.search(r"\s[/\\~-]|\s\S+://", text):
        return _last(text)
    text = re.sub(r"(['\"])(" + _WHOLE.pattern + r")\1", lambda found: found[1] + _last(found[2]) + found[1], text)
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(re.escape(home) + r"(?=[/\\])", "~", text)
    return _PATH.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
