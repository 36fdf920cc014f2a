"""From activations to features, edits and recipes.

One module for each step, imported when it is needed: `data` (clips from folders and from the Hub), `parts` (their split
without leakage), `gather` (both at once), `vary` (louder, noisier, briefer), `collect` (a model's residuals, as shards
on disk, of which `audiosae_steer.training` makes an SAE), `contrast` (features that tell two kinds of clips apart, as a
recipe), `learning` (a recipe of `Add` edits whose `amounts` are learned by gradient), `fit_gate` and `gates` (probes
that open and shut the edits), `calibration` (kind of edit, strength and thresholds, within a budget on speech), `make`
(all in one call).

    from audiosae_steer.discover import discover
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import calibrate
    from .contrast import discover
    from .learning import learn
    from .make import make_no_false_speech

__all__ = ["calibrate", "discover", "learn", "make_no_false_speech"]

_HOMES = {"calibrate": "calibration", "discover": "contrast", "learn": "learning", "make_no_false_speech": "make"}
"""Where each name is, so that importing this package imports nothing heavy. A name here must not be a module's too:
importing that module would put it in the function's place."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
