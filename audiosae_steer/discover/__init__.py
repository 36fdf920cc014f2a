"""From activations to features, edits and recipes.

One module for each step, imported when it is needed: `data` (clips from folders and from the Hub), `parts` (their split
without leakage), `collect` (a model's residuals, as shards on disk), `train` (an SAE of them), `contrast` (features
that tell two kinds of clips apart, as a recipe), `learn` (the amounts of `Add` edits, by gradient), `fit_gate` (the
probe that opens and shuts the edits).

    from audiosae_steer.discover import discover
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contrast import discover

__all__ = ["discover"]

_HOMES = {"discover": "contrast"}
"""Where each name is, so that importing this package imports nothing heavy. A name here must not be a module's too:
importing that module would put it in the function's place."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
