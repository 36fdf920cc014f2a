"""Audio models: loading, and the sites where a residual can be read and replaced. Knows no SAE."""

from __future__ import annotations

import typing as _typing

if _typing.TYPE_CHECKING:
    from .load import load_model, load_processor, load_whisper

__all__ = ["load_model", "load_processor", "load_whisper"]


def __getattr__(name: str) -> _typing.Any:
    import importlib

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(".load", __name__), name)
