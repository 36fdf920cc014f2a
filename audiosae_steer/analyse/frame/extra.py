"""Imports of the packages that the extra `[analyse]` brings."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ...errors import MissingExtraError


def import_extra(module: str, extra: str = "analyse") -> Any:
    """A module of an optional package, imported when it is needed.

    Raises:
        MissingExtraError: it is not installed; the message says how to get it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module.split('.')[0]} is not installed; run: pip install 'audiosae-steer[{extra}]'"
        ) from error
