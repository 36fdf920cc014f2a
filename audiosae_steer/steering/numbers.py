"""Numbers that users give a steering, checked."""

from __future__ import annotations

import torch

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
