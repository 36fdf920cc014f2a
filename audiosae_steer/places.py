"""Folders of this machine, left out of what is told to others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_PART = r"[/\\][^\s/\\'\",;:*?<>|]+"
_PATH = re.compile(rf"(?<![\w.:/\\~-])(?:file://(?:{_PART})+|(?:~\w*|[A-Za-z]:)(?:{_PART})+|(?:{_PART}){{2,}})[/\\]?")
_WHOLE = re.compile(r"(?:file://|~|[A-Za-z]:)?[/\\][^\n'\"]*[/\\][^\n'\"]*")


def without_places(value: Any) -> Any:
    """What JSON holds, with the last part of each absolute path in place of the whole.

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
