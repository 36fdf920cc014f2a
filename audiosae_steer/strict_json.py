"""JSON of strangers: what the standard allows and other programs can read back, and no more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 100
MAX_PARTS = 200_000
"""Lists and dicts in one text: each takes a hundred times the memory of the characters it is written in."""
_LARGEST = 1 << 64


def parse(text: str | bytes, *, lenient: bool = False) -> Any:
    """The content of `text`.

    Refused are names that occur twice, NaN, numbers beyond float64 or 64 bits, halves of surrogate pairs, more
    lists and dicts than `MAX_PARTS`, and nesting deeper than `MAX_DEPTH`, at which the functions that walk through it
    later could run out of stack.

    Args:
        text: as str, or as UTF-8.
        lenient: NaN, Infinity and numbers beyond float64 become None. Python writes them, and settings hold them.

    Raises:
        ValueError: it is not JSON, or holds any of these.
    """

    def constant(name: str) -> None:
        if not lenient:
            raise ValueError(f"{name} is no JSON")

    def number(digits: str) -> float | None:
        value = float(digits)
        if math.isfinite(value):
            return value
        constant(digits[:20])
        return None

    text = text.decode("utf-8") if isinstance(text, bytes) else text
    if text.count("[") + text.count("{") > MAX_PARTS:
        raise ValueError("it holds too many lists and dicts")
    try:
        content = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=constant,
            parse_float=number,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(content)
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice in it")
    return content


def _check(content: Any) -> None:
    waiting: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for value in waiting:
            if isinstance(value, dict):
                _check_texts(value)
                deeper += value.values()
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, str):
                _check_texts((value,))
            elif type(value) is int and not -_LARGEST < value < _LARGEST:
                raise ValueError("it holds a whole number of more than 64 bits")
        if not deeper:
            return
        waiting = deeper
    raise ValueError("it is nested too deeply")


def _check_texts(texts: Iterable[str]) -> None:
    for text in texts:
        if not text.isascii():
            text.encode()  # a UnicodeEncodeError is a ValueError
