"""Settings of a steering that may differ from clip to clip, and from one thread or task to another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ..errors import SteeringError
from .events import Events, collecting
from .numbers import per_clip

PerClip = float | Sequence[float]
"""One number for all clips of a batch, or one for each."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Strength, choice of edits and offset of the clips of a batch; None: as the steering has it."""

    strength: float | tuple[float, ...] | None = None
    """Share of the change: one number, or one for each clip."""
    choice: tuple[int, ...] | None = None
    """Number of the list of edits that each clip takes; −1: none."""
    offset: float | tuple[float, ...] | None = None
    """Seconds of the input audio before the first frame: one number, or one for each clip."""

    def checked(self) -> Settings:
        """These settings, for one number of clips.

        Raises:
            SteeringError: they are for several.
        """
        lengths = {name: len(value) for name, value in vars(self).items() if isinstance(value, tuple)}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
            raise SteeringError(f"one entry for each clip of the batch is expected, and there are {told}")
        return self

    def over(self, other: Settings | None) -> Settings:
        """These settings, and the other's where these say nothing."""
        if other is None:
            return self
        own = {name: value for name, value in vars(self).items() if value is not None}
        return replace(other, **own)


def checked_settings(
    names: Sequence[str], choices: Sequence[str | None] | None, strength: PerClip | None, offset: PerClip | None
) -> Settings:
    """Settings as users give them, with the choices' numbers among `names`.

    Raises:
        SteeringError: a name is unknown, a number is not finite, or the lists are of different lengths.
    """
    indices = None
    if choices is not None:
        unknown = [name for name in choices if name is not None and name not in names]
        if unknown or isinstance(choices, str):
            named = choices if isinstance(choices, str) else unknown[0]
            raise SteeringError(f"{named!r} is not among the edits to choose from: {', '.join(names)}, or None")
        indices = tuple(-1 if name is None else names.index(name) for name in choices)
    return Settings(
        strength=per_clip(strength, "strength", "0 switches the steering off"),
        choice=indices,
        offset=per_clip(offset, "offset", "it is in seconds"),
    ).checked()


class SettingTensors:
    """Settings as tensors, on each device and in each dtype that asks for them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._made: dict[Any, Tensor] = {}

    def strength(self, dtype: torch.dtype, device: torch.device) -> Tensor | None:
        """() or (clips,)."""
        return self._tensor(self.settings.strength, dtype, device)

    def offset(self, device: torch.device) -> Tensor | None:
        """() or (clips,)."""
        return self._tensor(self.settings.offset, torch.float32, device)

    def choice(self, device: torch.device) -> Tensor | None:
        """(clips,) long."""
        return self._tensor(self.settings.choice, torch.long, device)

    def _tensor(self, value: Any, dtype: torch.dtype, device: torch.device) -> Tensor | None:
        if value is None:
            return None
        key = (value, dtype, device)
        found = self._made.get(key)
        if found is None:
            with torch.inference_mode(False):  # tensors made inside it could not be used by a later backward pass
                found = self._made[key] = torch.tensor(value, dtype=dtype, device=device)
        return found


_UNDER_WAY: ContextVar[dict[int, SettingTensors] | None] = ContextVar("audiosae_steer_sessions", default=None)
"""Settings of this thread or task, by the steering's key."""


def settings_of(key: int) -> SettingTensors | None:
    """Settings of a steering by the innermost session of this thread or task."""
    found = _UNDER_WAY.get()
    return None if found is None else found.get(key)


class Session:
    """Settings of one thread or task, while it is within the block; not made directly: see `Steering.session`.

    What it does not set is as in the session round it, or as the steering has it.
    """

    __slots__ = ("_exits", "_key", "_settings", "_token", "events")  # a setting put on it would be ignored

    def __init__(self, key: int, settings: Settings) -> None:
        self._key, self._settings = key, settings
        self._token: Token[dict[int, SettingTensors] | None] | None = None
        self._exits = ExitStack()
        self.events = Events()
        """Decisions of the gates within the block, in this thread or task."""

    def __enter__(self) -> Session:
        if self._token is not None:
            raise SteeringError("this session is entered already; call session() once for each block")
        found = _UNDER_WAY.get() or {}
        outer = found.get(self._key)
        merged = self._settings.over(None if outer is None else outer.settings)
        self._exits.enter_context(collecting(self.events, self._key))
        self._token = _UNDER_WAY.set({**found, self._key: SettingTensors(merged)})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _UNDER_WAY.reset(self._token)
            self._token = None
            self._exits.close()
