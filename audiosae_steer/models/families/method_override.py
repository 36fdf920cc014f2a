"""Replace one method on one model instance, counted, so that several steerings can share it and leave in any order."""

from __future__ import annotations

import copy
import operator
import types
from collections.abc import Callable
from typing import Any

_HOLDERS = "_audiosae_steer_holders_of_"
_THEIRS = "_audiosae_steer_replaced_"


class _Holders(list[object]):
    """Holders of an override, one entry each; copies of the model are held alike, and pickles by nobody."""

    def __deepcopy__(self, memo: Any) -> _Holders:
        return _Holders(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, ()


class _Method:
    """A bound method of `function` that a pickle knows as the method it replaced."""

    def __init__(self, function: Callable[..., Any], model: Any, name: str) -> None:
        self.__func__, self.__self__, self.name = function, model, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(self.__self__, *args, **kwargs)

    def __deepcopy__(self, memo: Any) -> _Method:
        return _Method(self.__func__, copy.deepcopy(self.__self__, memo), self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        theirs = vars(self.__self__).get(_THEIRS + self.name)
        if theirs is not None:
            return operator.itemgetter(0), ((theirs,),)
        return getattr, (self.__self__, self.name)  # of the class: read before the instance has its attributes


def override(model: Any, name: str, function: Callable[..., Any]) -> Callable[[], None]:
    """Make `model.name(...)` call `function(model, ...)`; returns a function that undoes it.

    A bound method rather than a closure, so that a deep copy of the model calls itself and not the original; a pickle
    has the method that was there before. An attribute that was on the instance before is put back; one that was put
    there since is left alone.
    """
    own = vars(model)
    holders, replaced = _HOLDERS + name, _THEIRS + name
    if not own.get(holders):
        own[replaced] = own.get(name)
        own[name] = _Method(function, model, name)
        own[holders] = _Holders()
    held: list[object] = own[holders]
    held.append(object())
    left = False

    def close() -> None:
        nonlocal left
        if left:
            return
        left = True
        held.pop()
        if held or own.get(holders) is not held:
            return
        del own[holders]
        theirs = own.pop(replaced)
        if getattr(own.get(name), "__func__", None) is function:
            del own[name]
            if theirs is not None:
                own[name] = theirs

    return close


def restore_all(model: Any) -> None:
    """Take away every override that an instance has, whoever holds it."""
    own = vars(model)
    for name in [key.removeprefix(_HOLDERS) for key in own if key.startswith(_HOLDERS)]:
        del own[_HOLDERS + name]
        theirs = own.pop(_THEIRS + name, None)
        if isinstance(own.get(name), _Method):
            del own[name]
            if theirs is not None:
                own[name] = theirs


def overridden(model: Any, name: str) -> Callable[..., Any]:
    """The method that `override` hides: the instance's own, or else the class's, bound to `model`."""
    theirs: Callable[..., Any] | None = vars(model).get(_THEIRS + name)
    method: Callable[..., Any] = getattr(type(model), name)
    return theirs if theirs is not None else types.MethodType(method, model)
