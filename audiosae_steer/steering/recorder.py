"""Recording of what the gates of one steering decide, and telling of those who listen."""

from __future__ import annotations

import itertools
import logging
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CallbackWarning, GateError
from ..models.registry import frame_rate_at
from ..models.sites import Family, Site
from .events import Decided, Events, GateEvent, collectors_of
from .frozen import is_tracing
from .gates import Kind, Reader
from .session import Settings, settings_of

Listener = Callable[[GateEvent], Any]
LOG = logging.getLogger("audiosae_steer.gates")


class _Window(threading.local):
    """Number of the pass that a thread is at."""

    number = 0


class Recorder:
    """Events of one steering's gates.

    Args:
        model: the model that is steered.
        family: its family.
        sites: where gates read, in the order of a pass, with the kinds of gate there.
        on_gate: called with each event, in the thread that runs the model; None: nobody listens.

    Raises:
        GateError: there is a listener, and no gate.
    """

    def __init__(
        self,
        model: nn.Module,
        family: Family,
        sites: Mapping[Site, tuple[Kind, ...]],
        on_gate: Listener | None = None,
    ) -> None:
        if on_gate is not None and not sites:
            raise GateError(
                "on_gate is called with what a gate decides, and this steering has none: its edits hold for every "
                "clip; leave on_gate out, or steer by a recipe with a gate"
            )
        if on_gate is not None and not callable(on_gate):
            raise GateError(f"on_gate is a {type(on_gate).__name__}; expected a function that takes a GateEvent")
        self.events, self.on_gate = Events(), on_gate
        self.strength, self.enabled, self.offset, self.clips = 1.0, True, 0.0, Settings()
        self._rates = {site: frame_rate_at(model, family, site) for site in sites}
        self._first = next(((site, kinds[0]) for site, kinds in sites.items()), None)
        self._places = family.window_places(model)
        self._numbers, self._at = itertools.count(), _Window()

    def record(
        self,
        key: int,
        gate: tuple[Site, Kind],
        reader: Reader,
        margin: Tensor,
        seen: tuple[int, Tensor | None, float | Tensor],
    ) -> None:
        """Note what a gate decides: nothing is read from the device, unless somebody listens.

        Args:
            key: of the steering, for sessions.
            gate: where it reads, and its kind.
            reader: what reads there.
            margin: (clips,) or (clips, frames) score minus threshold.
            seen: frames that it saw; (clips, frames) bool those that are no padding; offset as the pass has it.
        """
        if _is_unreadable(margin):
            return
        site, kind = gate
        if gate == self._first:
            self._at.number = next(self._numbers)
        rows, (frames, unpadded, offset) = len(margin), seen
        settings = settings_of(key)
        used = self.clips if settings is None else settings.settings.over(self.clips)
        given = self.offset if used.offset is None else used.offset
        looped, clips = (offset, range(rows)) if self._places is None else self._places(rows)
        decided = Decided(
            kind=kind,
            site=site,
            features=reader.features,
            window=self._at.number,
            thread=threading.current_thread().name,
            threshold=reader.threshold,
            rate=self._rates[site],
            frames=frames,
            margin=margin.detach(),
            unpadded=unpadded,
            starts=tuple(part if isinstance(part, Tensor) else _by_row(part, rows) for part in (given, looped)),
            strengths=self._strengths(used, rows),
            clips=tuple(clips),
        )
        if _is_at_hand(margin):  # thousands of small tensors, kept, would break up the memory that passes use
            decided.events()
        self.events.add(decided)
        for events in collectors_of(key):
            events.add(decided)
        if self.on_gate is not None or LOG.isEnabledFor(logging.INFO):
            self._tell(decided)

    def _strengths(self, used: Settings, rows: int) -> tuple[float, ...]:
        """Of each row; 0 where it is left alone."""
        given = self.strength if used.strength is None else used.strength
        strengths = _by_row(given if self.enabled else 0.0, rows)
        if used.choice is None:
            return strengths
        choices = _by_row(used.choice, rows)
        return tuple(strength if choice >= 0 else 0.0 for strength, choice in zip(strengths, choices, strict=True))

    def _tell(self, decided: Decided) -> None:
        for event in decided.events():
            LOG.info("%s", event.words())
            if self.on_gate is None:
                continue
            try:
                self.on_gate(event)
            except Exception as error:  # whoever listens does not decide what the model writes
                LOG.warning("on_gate raised an exception", exc_info=True)
                warnings.warn(
                    f"on_gate raised {type(error).__name__}: {error}; the model goes on, and the event is in "
                    "steering.events",
                    CallbackWarning,
                    stacklevel=2,
                )


def _by_row(value: float | tuple[float, ...], rows: int) -> tuple[float, ...]:
    """A number for each row; clips may be repeated, in order."""
    if not isinstance(value, tuple):
        return (value,) * rows
    return tuple(value[row * len(value) // rows] for row in range(rows))


def _is_at_hand(margin: Tensor) -> bool:
    """Reading it waits for no other device."""
    return margin.device.type == "cpu"


def _is_unreadable(margin: Tensor) -> bool:
    """There is no decision to note: code is traced, compiled or captured, or a pass is computed once more."""
    if torch.compiler.is_compiling() or is_tracing() or margin.is_meta or type(margin) is not Tensor:
        return True
    if torch._C._functorch.is_functorch_wrapped_tensor(margin):
        return True
    if margin.is_cuda and torch.cuda.is_current_stream_capturing():
        return True
    return torch._C._current_graph_task_id() != -1  # recomputed in autograd's backward pass
