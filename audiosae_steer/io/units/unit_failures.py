"""Kinds of failure: what is tried again, what is quarantined, and what ends the run."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, Literal

from ...errors import printable
from ..paths import without_places

Kind = Literal["transient", "memory", "permanent", "lost", "fatal"]
"""Of a failed try: worth another try; worth one with half the batch; of a recording; of the worker; of the machine."""
PASSING = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH,
    errno.EINTR, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
"""Error numbers of what may be over in a while."""
FULL = {errno.ENOSPC, errno.EDQUOT}
UNWRITABLE = FULL | {errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.ENOTDIR, errno.EISDIR}
"""Error numbers of a folder that takes no output, now or later."""
LONGEST = 300
"""Characters of a reason."""
BUSY = {408, 429}
"""Answers of a server below 500 that mean: later."""


def kind_of(error: BaseException, *, writing: bool = False) -> Kind:
    """The kind of an error.

    Args:
        error: of a unit, or of the writing of its output.
        writing: it is of the latter.
    """
    numbers = {each.errno for each in _chain(error) if isinstance(each, OSError)}
    if any(_is_memory(each) for each in _chain(error)):
        return "memory"
    if numbers & (UNWRITABLE if writing else FULL):
        return "fatal"
    if is_transient(error):
        return "transient"
    return "fatal" if writing else "permanent"


def is_transient(error: BaseException) -> bool:
    """True if the same call may work in a while: a lost connection, a time-out, an answer of 5xx or 429."""
    for each in _chain(error):
        if isinstance(each, (ConnectionError, TimeoutError)):
            return True
        if isinstance(each, OSError) and each.errno in PASSING:
            return True
        status = _status(each)
        if status is not None and (status >= 500 or status in BUSY):
            return True
    return False


def reason_of(error: BaseException) -> str:
    """One line on an error, the same on every machine: without the folders of paths."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return printable(str(without_places(text)), LONGEST)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from, or while."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        found = found.__cause__ or found.__context__


def _is_memory(error: BaseException) -> bool:
    """True for lack of memory, of the machine or of a GPU: torch raises classes of its own, and RuntimeErrors."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower())


def _status(error: BaseException) -> int | None:
    """Status of an HTTP answer that an error of any library carries."""
    answer: Any = getattr(error, "response", None)
    found = getattr(answer, "status_code", getattr(answer, "status", getattr(error, "status", None)))
    if isinstance(answer, dict):
        found = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return found if isinstance(found, int) else None
