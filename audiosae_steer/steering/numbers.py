"""Numbers that users give a steering, checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import SteeringError


def number(value: float, name: str, hint: str) -> float:
    """A finite number.

    Raises:
        SteeringError: it is not, or it is text.
    """
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError("text")
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SteeringError(f"{name} must be a finite number, not {value!r}; {hint}") from error
    if not torch.isfinite(torch.tensor(number, dtype=torch.float32)):  # which is what the narrowest plans hold
        raise SteeringError(f"{name} must be a finite number, not {number}; {hint}")
    return number


def per_clip(value: float | Sequence[float] | Tensor | None, name: str, hint: str) -> float | tuple[float, ...] | None:
    """One finite number, or one for each clip.

    Raises:
        SteeringError: it is neither.
    """
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(number(each, name, hint) for each in value)
    return None if value is None else number(value, name, hint)
