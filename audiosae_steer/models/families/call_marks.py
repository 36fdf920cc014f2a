"""Marks of the method calls that are under way, one for each thread and module."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class _Marks(threading.local):
    """Marks of this thread, by the module's id."""

    def __init__(self) -> None:
        self.by_module: dict[int, object] = {}


_marks = _Marks()


@contextmanager
def under_way(module: nn.Module) -> Iterator[None]:
    """Mark that a call is under way, in whose course `module` may run several times."""
    outer = _marks.by_module.get(id(module))
    _marks.by_module[id(module)] = object()
    try:
        yield
    finally:
        if outer is None:
            del _marks.by_module[id(module)]
        else:
            _marks.by_module[id(module)] = outer


def mark_of(module: nn.Module) -> Any:
    """The mark of this thread's call, another for each call; None: the module was called by itself."""
    return _marks.by_module.get(id(module))
