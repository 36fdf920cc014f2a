"""Folders of this machine, left out of what is told to others."""

from __future__ import annotations

import re
from typing import Any

_PART = r"[/\\][^\s/\\'\",;:*?<>|]+"
_PATH = re.compile(rf"(?<![\w.:/\\~-])(?:(?:~|[A-Za-z]:)(?:{_PART})+|(?:{_PART}){{2,}})[/\\]?")


def without_places(value: Any) -> Any:
    """What JSON holds, with the last part of each absolute path in place of the whole."""
    if isinstance(value, str):
        return _PATH.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], value)
    if isinstance(value, dict):
        return {key: without_places(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(each) for each in value]
    return value
