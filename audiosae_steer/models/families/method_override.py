"""Replace one method on one model instance, counted, so that several steerings can share it and leave in any order."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

_HOLDERS = "_audiosae_steer_holders_of_"
_THEIRS = "_audiosae_steer_replaced_"


def override(model: Any, name: str, function: Callable[..., Any]) -> Callable[[], None]:
    """Make `model.name(...)` call `function(model, ...)`; returns a function that undoes it.

    A bound method rather than a closure, so that a deep copy of the model calls itself and not the original. An
    attribute that was on the instance before is put back; one that was put there since is left alone.
    """
    own = vars(model)
    holders, replaced = _HOLDERS + name, _THEIRS + name
    if not own.get(holders):
        own[replaced] = own.get(name)
        own[name] = types.MethodType(function, model)
    own[holders] = own.get(holders, 0) + 1
    left = False

    def close() -> None:
        nonlocal left
        if left:
            return
        left = True
        own[holders] -= 1
        if own[holders]:
            return
        del own[holders]
        theirs = own.pop(replaced)
        if getattr(own.get(name), "__func__", None) is function:
            del own[name]
            if theirs is not None:
                own[name] = theirs

    return close


def overridden(model: Any, name: str) -> Callable[..., Any]:
    """The method that `override` hides: the instance's own, or else the class's, bound to `model`."""
    theirs: Callable[..., Any] | None = vars(model).get(_THEIRS + name)
    method: Callable[..., Any] = getattr(type(model), name)
    return theirs if theirs is not None else types.MethodType(method, model)
