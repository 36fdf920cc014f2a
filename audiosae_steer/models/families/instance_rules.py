"""Rules that steerings add to one model instance: lists among its attributes, which copies keep and pickles lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_RULES = "_audiosae_steer_rules_"


class _Rules(list[Any]):
    def __deepcopy__(self, memo: Any) -> _Rules:  # a copy's hooks run the original's steering, so these stay the same
        return _Rules(self)

    def __reduce__(self) -> tuple[Any, ...]:  # a pickle is not steered
        return list, ()


def add(model: Any, kind: str, rule: Any, *closers: Callable[[], None]) -> Callable[[], None]:
    """Add a rule of a kind to an instance; returns a function that takes it back, and calls `closers`."""
    own, name = vars(model), _RULES + kind
    rules: list[Any] = own.get(name) or _Rules()  # a pickle leaves an empty list
    own[name] = rules
    rules.append(rule)

    def close() -> None:
        for each in closers:
            each()
        if rule in rules:
            rules.remove(rule)
        if not rules:
            own.pop(name, None)

    return close


def of(model: Any, kind: str) -> tuple[Any, ...]:
    """The rules of a kind that an instance is under."""
    return tuple(vars(model).get(_RULES + kind, ()))


def clear(model: Any) -> None:
    """Take away all rules of an instance."""
    for name in [name for name in vars(model) if name.startswith(_RULES)]:
        del vars(model)[name]
