"""The settings of a steering that may be changed while it is in force: strength, threshold, offset, clip by clip."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Self

from torch import nn

from ..errors import SteeringError
from ..models.sites import Site
from .events import Events
from .hook import Hook
from .live import Life
from .numbers import number
from .opening import Threshold, set_threshold, threshold_of
from .pass_state import Shared
from .recipes.schema import Recipe
from .recorder import Recorder
from .session import PerClip, Session, Settings, SettingTensors, checked_settings


class _NoSuchSettingError(SteeringError, AttributeError):
    """To Python, an attribute that is not there."""


class Controls:
    """The part of a `Steering` that is set by its user; see there."""

    recipe: Recipe | None
    model: nn.Module

    def __setattr__(self, name: str, value: object) -> None:
        # a slip such as `steering.stregth = 0.5` would change nothing, and say nothing
        if not (name.startswith("_") or hasattr(type(self), name) or name in Controls.__annotations__):
            settable = [own for kind in type(self).__mro__ for own, of in vars(kind).items() if _is_set(of)]
            near = difflib.get_close_matches(name, settable, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(sorted(settable))}"
            raise _NoSuchSettingError(f"a steering has no attribute {name!r}; {meant}")
        super().__setattr__(name, value)

    def __init__(self, hooks: Mapping[Site, Hook], shared: Shared, recorder: Recorder, life: Life) -> None:
        self._hooks, self._shared, self._life = dict(hooks), shared, life
        self._recorder = shared.recorder = recorder
        self._strength, self._enabled = 1.0, True
        self._clips = Settings()

    @property
    def strength(self) -> float:
        """Share of the change that is applied: 0 is the unsteered model, bit for bit; 1 is the edits as written.

        Below 0 the change is turned round: what the edits add to the residual is taken from it.
        """
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = number(value, "strength", "0 switches the steering off")
        self._set_strength()

    @property
    def enabled(self) -> bool:
        """It changes something; the hooks stay either way."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = bool(value)
        self._set_strength()
        for hook in self._hooks.values():
            hook.off = not self._enabled
        self._set_clips()

    @property
    def offset(self) -> float:
        """Seconds between the start of the input audio and the first frame that the model sees, for windows."""
        return float(next(iter(self._hooks.values())).offset)

    @offset.setter
    def offset(self, value: float) -> None:
        self._recorder.offset = number(value, "offset", "it is in seconds")
        self._fill("offset", self._recorder.offset)

    @property
    def threshold(self) -> Threshold | None:
        """Score above which the gate opens; of a clip gate and a frame gate, a mapping of both; None without a gate.

        Set one number where there is one gate, or a mapping such as `{"clip": 2.0}` of those that are to change. It
        holds for what is encoded from then on, in every thread; nothing is compiled anew.
        """
        return threshold_of(self._hooks)

    @threshold.setter
    def threshold(self, value: Threshold) -> None:
        set_threshold(self._hooks, value, self._life.whose)

    @property
    def events(self) -> Events:
        """Decisions of its gates in every thread: a `GateEvent` for each clip of each pass, the last 4,096.

        `clear()` forgets them. Reading them waits for the device; nothing is noted in traced or compiled code. Those of
        one thread or task alone: `with steering.session() as session`, then `session.events`.
        """
        return self._recorder.events

    def _set_strength(self) -> None:
        self._recorder.strength, self._recorder.enabled = self._strength, self._enabled
        self._fill("strength", self._strength if self._enabled else 0.0)

    def _fill(self, name: str, value: float) -> None:
        for hook in self._hooks.values():
            getattr(hook, name).fill_(value)

    def for_clips(
        self,
        choices: Sequence[str | None] | None,
        *,
        strength: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
    ) -> Self:
        """Choose, clip by clip, what the next batches get, in every thread. Returns the steering itself.

        Args:
            choices: a name of `edits`, or the recipe's, for each clip; None in its place leaves that clip alone. None:
                no choice. `for_clips(None)` takes everything back.
            strength: of each clip, in the place of the steering's.
            offset: seconds of each clip's recording before its first frame, in the place of the steering's.

        Raises:
            SteeringError: a name is unknown, a number is not finite, or the lists are of different lengths.
        """
        self._clips = self._recorder.clips = checked_settings(self._shared.names, choices, strength, offset)
        self._set_clips()
        return self

    def session(
        self,
        *,
        strength: PerClip | None = None,
        clips: Sequence[str | None] | None = None,
        offset: PerClip | None = None,
    ) -> Session:
        """Settings of one thread or asyncio task alone, for the length of a block: `with steering.session(strength=0)`.

        Args:
            strength: one number, or one for each clip of the batches; None: as it is without the session.
            clips: as `choices` of `for_clips`.
            offset: seconds of the recording before the first frame: one number, or one for each clip.

        Raises:
            SteeringError: as of `for_clips`; or the model was compiled, whose code is the same for all threads.
        """
        if any(hook.traced for hook in self._hooks.values()):
            raise SteeringError(
                "this model was compiled while it was steered, and compiled code reads the same settings in every "
                "thread; set steering.strength or call for_clips() instead"
            )
        return Session(id(self._shared), checked_settings(self._shared.names, clips, strength, offset))

    def _set_clips(self) -> None:
        tensors = SettingTensors(self._clips)
        for hook in self._hooks.values():
            hook.set_clips(tensors, enabled=self._enabled)


def _is_set(member: object) -> bool:
    return isinstance(member, property) and member.fset is not None
