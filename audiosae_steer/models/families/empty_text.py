"""Permission of empty texts in a batch: for the clips that some steering of the model edits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..sites import Door
from .method_override import override, restore_all

_DOORS = "_audiosae_steer_doors"


class _Doors(list[Door]):
    def __deepcopy__(self, memo: Any) -> _Doors:  # a copy's hooks run the original's steering, so these stay the same
        return _Doors(self)

    def __reduce__(self) -> tuple[Any, ...]:  # a pickle is not steered
        return list, ()


def allow(model: Any, door: Door, name: str, function: Callable[..., Any]) -> Callable[[], None]:
    """Add `door` to the permissions of this instance's texts, which `function` writes in the place of method `name`.

    Returns a function that takes it back.
    """
    own = vars(model)
    doors: list[Door] = own.get(_DOORS) or _Doors()  # a pickle leaves an empty list
    own[_DOORS] = doors
    doors.append(door)
    restore = override(model, name, function)

    def close() -> None:
        restore()
        if door in doors:
            doors.remove(door)
        if not doors:
            own.pop(_DOORS, None)

    return close


def forget(model: Any) -> None:
    """Take away all permissions of an instance and whatever replaces its methods, as a copy of a steered model has."""
    vars(model).pop(_DOORS, None)
    restore_all(model)


def shut(model: Any, rows: int, device: torch.device) -> Tensor:
    """Mask (rows,) of texts that must not be empty, with no wait for the device."""
    empty = torch.zeros(rows, dtype=torch.bool, device=device)
    for door in vars(model).get(_DOORS, ()):
        allowed = door(rows)
        empty |= allowed if isinstance(allowed, bool) else allowed.to(device)
    return ~empty


def always(rows: int) -> bool:
    """A permission for every text."""
    return True
