"""Progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Tell = Callable[[str, int, int], None]
"""Is told what is done, how many are, and of how many."""


def track(items: Sequence[Any], what: str, progress: bool) -> Iterator[Any]:
    """The items, with a progress bar of that name if wanted."""
    if not progress:
        return iter(items)
    from rich.progress import track as bar

    return iter(bar(items, description=what))


@contextmanager
def telling(what: str, progress: bool) -> Iterator[Tell | None]:
    """A bar of that name that is told of progress; None if none is wanted."""
    if not progress:
        yield None
        return
    from rich.progress import Progress

    with Progress() as shown:
        task = shown.add_task(what, total=None)
        yield lambda _, done, total: shown.update(task, completed=done, total=total)
