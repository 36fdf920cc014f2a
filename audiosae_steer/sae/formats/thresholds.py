"""The threshold that a BatchTopK SAE was saved with, which may never have been set."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

from torch import Tensor

from ...errors import CheckpointError, ThresholdWarning

_LOG = logging.getLogger("audiosae_steer.fallbacks")


def stored_threshold(file: Path, stored: object, unset: float = -1.0) -> Tensor | None:
    """The threshold that a file holds; None, with a warning, if it has none or the number that means unset.

    Args:
        file: for the messages.
        stored: a tensor, of one number or of one for each feature; anything else counts as missing.
        unset: what its library begins with, before training sets it. Any negative number means the same.

    Raises:
        CheckpointError: it is NaN, or set for some features and not for others.
    """
    if isinstance(stored, Tensor):
        never = (stored < 0) | (stored == unset)
        if bool((stored >= 0).all()) and not bool(never.all()):
            return stored.float()
        if not bool(never.all()):
            raise CheckpointError(f"{file}: its threshold is {stored.flatten()[:3].tolist()}…; the file is damaged")
    what = f"has a threshold that was never set ({unset:g})" if isinstance(stored, Tensor) else "has no threshold"
    _LOG.warning("%s %s: the true selection is run, over the whole SAE", file, what)
    warnings.warn(
        f"{file} {what}: the k·n largest of each clip of n frames are selected instead, which runs the whole SAE; "
        "`audiosae-steer calibrate-threshold`, or SAE.calibrate_threshold(), makes it fast",
        ThresholdWarning,
        stacklevel=_outside(),
    )
    return None


def _outside() -> int:
    """The `stacklevel` at which a warning of this module's points at the code that uses this package."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level
