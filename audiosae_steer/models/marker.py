"""Marks in a model of the recipes that were baked into it, so that none is applied twice unnoticed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from torch import nn

from ..io import strict_json
from ..io.files import MARK

ATTRIBUTE = "_audiosae_steer_baked"
MAX_BYTES = 1 << 20


def mark(model: nn.Module, recipes: Iterable[str]) -> None:
    """Note that recipes of these names are in the model's weights; copies and pickles of the model keep it."""
    setattr(model, ATTRIBUTE, (*marked(model), *recipes))


def marked(model: nn.Module) -> tuple[str, ...]:
    """Names of the recipes that are in its weights, as far as it remembers."""
    return tuple(getattr(model, ATTRIBUTE, ()))


def baked_in(weights: Path) -> tuple[str, ...]:
    """Names of the recipes in a folder that `publishing.export` wrote, or in a file of it; none of any other."""
    record = (weights if weights.is_dir() else weights.parent) / MARK
    with suppress(OSError, ValueError):  # a help, and not what the weights are read from
        if record.is_file() and record.stat().st_size <= MAX_BYTES:
            found = strict_json.parse(record.read_bytes())
            names = found.get("recipes") if isinstance(found, dict) else None
            return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
    return ()
