"""The hook at one site, run with the model: gate, choose, edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import GateError, SiteError, SteeringError
from ..models.sites import Moment, Passes, Site, Tap
from .effect import Effect
from .frozen import check_counted, check_decided
from .gates import FrameProbe, Kind, Probe, Reader, TimestampProbe
from .pass_state import Shared
from .plan import Plan
from .session import SettingTensors, settings_of


@dataclass(frozen=True)
class When:
    """The passes of a model in which it is steered."""

    first: bool = False
    """Only at steps that write a text's first token."""
    steps: tuple[int, int] | None = None
    """Of a diffusion: from the first of these, counted from 0, up to and without the second."""
    flow: tuple[float, float] | None = None
    """The same for its time t."""
    passes: Passes = "both"
    """Of a guided diffusion."""

    def words(self) -> str:
        """In words, to follow a description of the edit."""
        said = ["only at the step that writes a text's first token"] if self.first else []
        said += [] if self.steps is None else [f"only at steps {self.steps[0]} to {self.steps[1] - 1}"]
        said += [] if self.flow is None else [f"only while {self.flow[0]:g} ≤ t < {self.flow[1]:g}"]
        said += [] if self.passes == "both" else [f"only in the {self.passes} pass"]
        return "".join(f"; {each}" for each in said)

    def holds(self, moment: Moment) -> bool:
        """The pass under way may be steered, as far as is known without reading a tensor from the device."""
        if self.passes != "both" and moment.conditional != (self.passes == "conditional"):
            return False
        return self.steps is None or self.steps[0] <= moment.step < self.steps[1]

    def flowing(self, x: Tensor, moment: Moment) -> Tensor | None:
        """(rows,) bool: rows of x at a time t of the flow at which they are steered; None: all."""
        if self.flow is None:
            return None
        t = torch.as_tensor(moment.flow, device=x.device)
        return ((t >= self.flow[0]) & (t < self.flow[1])).expand(len(x))


class Probes(NamedTuple):
    """The gates that read a site."""

    clip: Probe | None = None
    frame: FrameProbe | None = None
    timestamp: TimestampProbe | None = None


class Hook(nn.Module):
    """Everything that happens at one site, as one module, so that its tensors are buffers to torch.compile."""

    strength: Tensor
    offset: Tensor
    choice: Tensor | None
    amounts: Tensor | None
    offsets: Tensor | None

    def __init__(
        self,
        site: Site,
        plan: Plan | None,
        probes: Probes,
        shared: Shared,
        *,
        tap: Tap,
        when: When = When(),
    ) -> None:
        super().__init__()
        self.when, self.layout, self.times = when, tap.layout, tap.times
        self.site, self.plan = site, plan
        self.probe, self.frame_probe, self.timestamp_probe = probes
        self.shared = shared
        self.words: tuple[str, ...] = ()
        """Its edits in words, a line each."""
        self.ran = False
        self.effect = None if plan is None or plan.always_writes else Effect(gated=shared.gated)
        self.removed = False
        self.traced = False
        self.off = False
        dtype = torch.float32 if plan is None else plan.dtype
        self.register_buffer("strength", torch.ones((), dtype=dtype), persistent=False)
        self.register_buffer("offset", torch.zeros(()), persistent=False)
        self.register_buffer("choice", None, persistent=False)
        self.register_buffer("amounts", None, persistent=False)
        self.register_buffer("offsets", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The steered residual of x (rows, frames, d_model), or (rows, d_model, frames) at a site of that layout.

        Raises:
            SiteError: x is not a residual of the width that the edits were built for.
        """
        if self.removed:  # a deep copy of the model, made while it was steered, keeps the hook
            return x
        self.ran = True
        self._check(x)
        if torch.compiler.is_compiling():
            self.traced = True
        elif self.strength.device != x.device:  # the model moved since
            self.to(x.device)
        if self.layout == "bdf":
            return self._within(x.transpose(1, 2)).transpose(1, 2)
        return self._within(x)

    def _check(self, x: Any) -> None:
        if self.width is None:
            return
        axis = 1 if self.layout == "bdf" else 2
        if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[axis] != self.width:
            found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"type {type(x).__name__}"
            axes = "(batch, d_model, frames)" if self.layout == "bdf" else "(batch, frames, d_model)"
            raise SiteError(
                f"{self.site} gives something of {found}; expected a residual {axes} with d_model {self.width}: "
                'name another module, or another layout ("bfd" or "bdf")'
            )

    def _within(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # it would round the whole residual, not only the change
            with torch.autocast(x.device.type, enabled=False):
                return self._steer(x)
        return self._steer(x)

    def _steer(self, x: Tensor) -> Tensor:
        moment = self.shared.state.moment
        unpadded = self._unpadded(x, moment)
        if self.probe is not None:
            margin = self.probe(x, unpadded)
            self.shared.decided(clips=margin > 0)
            self._record("clip", self.probe, margin, x, unpadded)
        if self.frame_probe is not None:
            margin = self.frame_probe(x, unpadded)
            self.shared.decided(frames=margin > 0)
            self._record("frame", self.frame_probe, margin, x, unpadded)
        if self.timestamp_probe is not None:
            margin = self.timestamp_probe.beside(self.timestamp_probe(x, unpadded), moment.filled)
            self.shared.decided(unspoken=margin > 0)
            self._record("timestamp", self.timestamp_probe, margin, x, unpadded)
        if self.when.steps is not None:
            check_counted(self.site)
        if self.plan is None or not self.when.holds(moment):
            return x
        own = self._settings()
        opened = self._opened(x)
        choice = self._choice(own)
        choice = self._rows(x.shape[0], x.device, choice, "choice") if self._chooses(choice) else None
        live = _all(
            opened,
            unpadded,
            self.when.flowing(x, moment),
            None if choice is None else choice >= 0,
            self._starting(x) if self.when.first else None,
        )
        choice = None if choice is None else choice.clamp(min=0)
        offset, times = None, None
        if self.plan.start is not None:
            start, offset = moment.offset, self._offset(x, own)
            offset = offset + (start.to(offset) if isinstance(start, Tensor) else start)
            times = None if self.times is None else self.times(x.shape[1], x.device)
        strength = self._strength(own)
        if strength.dim():
            strength = self._rows(x.shape[0], x.device, strength, "strength")
        plan, where = self.plan, {"live": live, "choice": choice, "offset": offset, "times": times}
        steered: Tensor = plan(x, strength, **where)
        if self.effect is not None and not torch.compiler.is_compiling():
            self.effect.look(x, steered, lambda: plan.steered_frames(x, strength, **where))
        return steered

    @property
    def changed(self) -> bool | None:
        """Its edits have changed a residual; None: they were never at work, or it is not known."""
        return None if self.effect is None or self.traced else self.effect.changed

    def _record(self, kind: Kind, reader: Reader, margin: Tensor, x: Tensor, unpadded: Tensor | None) -> None:
        if self.shared.recorder is not None and not torch.compiler.is_compiling():
            seen = (x.shape[1], unpadded, self.shared.state.moment.offset)
            self.shared.recorder.record(id(self.shared), (self.site, kind), reader, margin, seen)

    def set_clips(self, settings: SettingTensors, enabled: bool) -> None:
        """Take settings clip by clip for the next passes of any thread; strengths are 0 while it is not enabled."""
        device = self.strength.device
        amounts = settings.strength(self.strength.dtype, device)
        self.choice, self.offsets = settings.choice(device), settings.offset(device)
        self.amounts = amounts if amounts is None or enabled else torch.zeros_like(amounts)

    def _settings(self) -> SettingTensors | None:
        """Of the session of this thread or task; None outside of one, and to a compiler, which freezes what it sees."""
        return None if torch.compiler.is_compiling() else settings_of(id(self.shared))

    def _strength(self, own: SettingTensors | None) -> Tensor:
        """() or (clips,)."""
        found = None if own is None or self.off else own.strength(self.strength.dtype, self.strength.device)
        return found if found is not None else self.strength if self.amounts is None else self.amounts

    def _choice(self, own: SettingTensors | None) -> Tensor | None:
        found = None if own is None else own.choice(self.strength.device)
        return self.choice if found is None else found

    def _offset(self, x: Tensor, own: SettingTensors | None) -> Tensor:
        found = None if own is None else own.offset(self.strength.device)
        offset = found if found is not None else self.offset if self.offsets is None else self.offsets
        return self._rows(x.shape[0], x.device, offset, "offset") if offset.dim() else offset

    @property
    def width(self) -> int | None:
        """Of the residual that it edits or reads."""
        reader = self.probe or self.frame_probe or self.timestamp_probe
        return self.plan.d_model if self.plan is not None else None if reader is None else reader.d_model

    def _unpadded(self, x: Tensor, moment: Moment) -> Tensor | None:
        """(rows, frames) bool: the frames of the input, where a batch is padded to its longest clip; None: all."""
        frames = moment.frames
        return None if frames is None or frames.shape != x.shape[:2] else frames.to(x.device)

    @property
    def by_clip(self) -> bool:
        """Clips differ in what they get."""
        return self._chooses(self.choice) or self.amounts is not None or self.offsets is not None

    def _chooses(self, choice: Tensor | None) -> bool:
        """Each clip is steered by the choice made for it."""
        return self.plan is not None and (self.plan.n_choices > 1 or choice is not None)

    def _opened(self, x: Tensor) -> Tensor | None:
        """Mask of what the gates open for: (rows,), or (rows, frames) with a frame gate; None without a gate."""
        if not self.shared.gated:
            return None
        decision = self.shared.decision()
        check_decided(x, decision.clips, "the clip gate", self.site)
        clips = None if self.shared.gate_site is None else self._rows(x.shape[0], x.device, decision.clips, "gate")
        if self.shared.frame_gate_site is None:
            return clips
        frames = decision.frames
        if frames is None or frames.shape != x.shape[:2]:
            raise GateError(
                f"the frame gate at {self.shared.frame_gate_site} has not run for the batch that reached {self.site}: "
                "run the whole encoder, in the same model"
            )
        check_decided(x, frames, "the frame gate", self.site)
        frames = frames.to(x.device)
        return frames if clips is None else clips[:, None] | frames

    def _starting(self, x: Tensor) -> Tensor:
        """(rows, steps): the steps of x that write the first token of a text."""
        starting = self.shared.state.starting
        if starting is None or starting.shape != x.shape[:2]:
            raise SteeringError(
                f"the tokens that reached {self.site} are not known, which edits of a text's first step need: run the "
                "whole decoder, on token ids"
            )
        return starting.to(x.device)

    def edits(self, rows: int) -> Tensor | bool:
        """Mask (rows,) of decoded texts whose clips it edits, if only on some frames; or one answer for all."""
        where, device = "the text", self.strength.device
        live: list[Tensor] = []
        if self.shared.gated:
            decision = self.shared.decision()
            frames = None if decision.frames is None else decision.frames.any(1)
            if self.shared.gate_site is not None:
                live.append(self._rows(rows, device, decision.clips, "gate", where))
            if self.shared.frame_gate_site is not None:
                live.append(self._rows(rows, device, frames, "gate", where))
        edited: Tensor | bool = torch.stack(live).any(0) if live else True
        own = self._settings()
        choice, strength = self._choice(own), self._strength(own)
        if self._chooses(choice):
            edited = edited & (self._rows(rows, device, choice, "choice", where) >= 0)
        if strength.dim():
            edited = edited & (self._rows(rows, device, strength, "strength", where) != 0)
        return edited

    def unspoken(self, rows: int) -> Tensor | None:
        """(rows, frames) bool: frames of decoded texts for which the timestamp gate opened; None where it is off.

        None of a clip for which the clip gate opened: it holds no speech, and its text is for the edits to end.
        """
        where, device = "the text", self.strength.device
        decision = self.shared.decision()
        if self.off or decision.unspoken is None:
            return None
        found = self._rows(rows, device, decision.unspoken, "gate", where)
        if decision.clips is not None:
            found = found & ~self._rows(rows, device, decision.clips, "gate", where)[:, None]
        own = self._settings()
        choice, strength = self._choice(own), self._strength(own)
        if choice is not None:
            found = found & (self._rows(rows, device, choice, "choice", where) >= 0)[:, None]
        on = self._rows(rows, device, strength, "strength", where)[:, None] if strength.dim() else strength
        return found & (on > 0)

    def _rows(
        self,
        rows: int,
        device: torch.device,
        per_clip: Tensor | None,
        what: Literal["gate", "choice", "strength", "offset"],
        where: str | None = None,
    ) -> Tensor:
        """Repeat a per-clip tensor for so many rows: beams and `best_of` repeat a clip's decoder rows, in order."""
        if per_clip is None:
            if what == "gate":
                raise GateError(
                    f"the gate at {self.shared.gate} has not run for the batch "
                    f"that reached {where or self.site}: run the encoder first, in the same model"
                )
            raise SteeringError(
                f"several edits to choose from ({', '.join(self.shared.names)}), and no choice made: call for_clips()"
            )
        clips = per_clip.shape[0]
        repeats = where is not None or self.site.side == "decoder"
        if rows != clips and (not repeats or clips == 0 or rows % clips):
            raise SteeringError(
                f"the {what} was made for {clips} clips, but {rows} rows reached {where or self.site}; "
                + ("run the encoder first" if what == "gate" else "pass for_clips() one entry per clip of the batch")
            )
        per_clip = per_clip.to(device)
        return per_clip if rows == clips else per_clip.repeat_interleave(rows // clips, dim=0)


def _all(*masks: Tensor | None) -> Tensor | None:
    """Conjunction of masks, each (rows,) or (rows, frames) bool, or None for all."""
    found: Tensor | None = None
    for mask in masks:
        if found is None or mask is None:
            found = mask if found is None else found
        elif found.dim() == mask.dim():
            found = found & mask
        else:
            found = (found if found.dim() == 2 else found[:, None]) & (mask if mask.dim() == 2 else mask[:, None])
    return found
