"""Strict JSON of untrusted files, what the standard allows and no more; and this package's own records made plain."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .files import stays_inside

MAX_BYTES = 4_000_000
"""Of one file of settings: a hundred times the longest `config.json` of a released SAE."""
MAX_DEPTH = 100
"""A tenth of Python's default limit of recursion, for functions that walk through a value by calling themselves."""
MAX_PARTS = 200_000
"""Lists and dicts in one text: each takes a hundred times the memory of the characters it is written in."""
_LARGEST = 1 << 64
"""Above every integer that other readers of JSON, and tensors, have a type for."""


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


def plain(value: Any, path: Callable[[Path], str] = str) -> Any:
    """The dicts, lists and scalars that JSON is made of, from this package's records.

    Args:
        value: dataclasses and NamedTuples become dicts by field, mappings dicts with keys of text, tuples and lists
            lists; the rest stays, and is left to the encoder to refuse.
        path: the text that a path becomes.
    """
    if isinstance(value, Path):
        return path(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(each, path) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each, path) for each in value]
    return value


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


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object in a file; NaN and Infinity, which are not JSON, become None.

    Raises:
        CheckpointError: it is not a JSON object, too large to be settings, or a link to a file somewhere else, which
            an SAE would carry along in its `info`.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is no file; expected settings in JSON")
        if not stays_inside(path.parent, path):
            raise CheckpointError(f"{path} is a link that leaves its folder; put a copy of the settings there")
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path} is larger than {MAX_BYTES / 1e6:.0f} MB, which no SAE's settings are")
        content = parse(path.read_bytes(), lenient=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again")
    return content
