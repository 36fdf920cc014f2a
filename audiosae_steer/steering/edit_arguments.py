"""Checks of what edits are given: features, windows and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import EditError

Window = tuple[float, float]
"""(start, end) in seconds of the input audio."""


def checked_features(features: int | Sequence[int]) -> tuple[int, ...]:
    """Indices of features, as a tuple; EditError where they are not such, or repeat themselves."""
    if isinstance(features, (bool, str)):
        raise EditError(f"features must be an index or a list of indices, not {features!r}")
    raw = [features] if not hasattr(features, "__iter__") else list(features)
    try:
        indices = tuple(int(i.__index__()) for i in raw)
    except AttributeError as error:
        raise EditError(f"features must be whole numbers, not {features!r}") from error
    if not indices:
        raise EditError("an edit needs at least one feature; leave it out to edit nothing")
    if min(indices) < 0:
        raise EditError(f"feature {min(indices)} is negative; features count from 0")
    if len(set(indices)) != len(indices):
        raise EditError("an edit names a feature twice; write two edits, which compose in order")
    return indices


def checked_window(window: Window | None) -> Window | None:
    """The window in floats; EditError where it is none."""
    if window is None:
        return None
    try:
        start, end = (float(edge) for edge in window)
    except (TypeError, ValueError) as error:
        raise EditError(f"a window is (start, end) in seconds, not {window!r}") from error
    if not 0 <= start < end:
        raise EditError(f"a window needs 0 <= start < end, in seconds of the input audio; this one is {window}")
    return start, end


def window_words(window: Window | None) -> str:
    """Words about a window, to be put after an edit's; empty without one."""
    return "" if window is None else f", from {window[0]:g} to {window[1]:g} s"


def numbers(value: Any, what: str, axes: tuple[int, ...] = (0, 1)) -> Tensor:
    """A number, a list, an array or a tensor, as float64 with as many axes as are allowed; EditError else."""
    try:
        found = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise EditError(f"{what} is {value!r}; expected a number, or a list of them") from error
    if found.dim() not in axes:
        raise EditError(f"{what} has shape {tuple(found.shape)}; expected a number, or a list of them")
    return found


def all_finite(values: tuple[float, ...], edit: str, name: str) -> tuple[float, ...]:
    """The values themselves; EditError where one is NaN or infinite."""
    if not all(math.isfinite(v) for v in values):
        raise EditError(f"{edit}: {name} holds NaN or infinite numbers; expected finite ones")
    return values
