"""What happens at one site when the model runs: gate, choose, edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .clip_gate import Probe
from .errors import GateError, SteeringError
from .frame_gate import FrameProbe
from .plan import Plan
from .sites import Site


@dataclass
class Shared:
    """What the hooks of one steering share."""

    names: tuple[str, ...]
    gate_site: Site | None
    frame_gate_site: Site | None = None
    opened: Tensor | None = None  # (clips,) bool: the clip gate's last decision
    opened_frames: Tensor | None = None  # (clips, frames) bool: the frame gate's
    starting: Tensor | None = None  # (rows, steps) bool: where a text's first token is written


class Hook(nn.Module):
    """Everything that happens at one site, as one module, so that its tensors are buffers to torch.compile."""

    strength: Tensor
    offset: Tensor
    choice: Tensor | None

    def __init__(
        self,
        site: Site,
        plan: Plan | None,
        probe: Probe | None,
        frame_probe: FrameProbe | None,
        shared: Shared,
        *,
        first: bool = False,
    ) -> None:
        super().__init__()
        self.first = first
        self.site, self.plan, self.probe, self.frame_probe = site, plan, probe, frame_probe
        self.shared = shared
        self.ran = False
        self.removed = False
        dtype = torch.float32 if plan is None else plan.dtype
        self.register_buffer("strength", torch.ones((), dtype=dtype), persistent=False)
        self.register_buffer("offset", torch.zeros(()), persistent=False)
        self.register_buffer("choice", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The steered residual of x (rows, frames, d_model)."""
        if self.removed:  # a deep copy of the model, made while it was steered, keeps the hook
            return x
        if not torch.compiler.is_compiling() and self.strength.device != x.device:  # the model moved since
            self.to(x.device)
        self.ran = True
        if torch.is_autocast_enabled(x.device.type):  # it would round the whole residual, not only the change
            with torch.autocast(x.device.type, enabled=False):
                return self._steer(x)
        return self._steer(x)

    def _steer(self, x: Tensor) -> Tensor:
        if self.probe is not None:
            self.shared.opened = self.probe(x) > 0
        if self.frame_probe is not None:
            self.shared.opened_frames = self.frame_probe(x) > 0
        if self.plan is None:
            return x
        live = self._opened(x)
        choice = None
        if self.chooses:
            choice = self._rows(x.shape[0], x.device, self.choice, "choice")
            chosen = choice >= 0
            live = chosen if live is None else live & (chosen if live.dim() == 1 else chosen[:, None])
            choice = choice.clamp(min=0)
        if self.first:
            starting = self._starting(x)
            live = starting if live is None else starting & (live if live.dim() == 2 else live[:, None])
        offset = self.offset if self.plan.start is not None else None
        steered: Tensor = self.plan(x, self.strength, live=live, choice=choice, offset=offset)
        return steered

    @property
    def chooses(self) -> bool:
        """Whether clips are steered by the choice made for each."""
        return self.plan is not None and (self.plan.n_choices > 1 or self.choice is not None)

    def _opened(self, x: Tensor) -> Tensor | None:
        """What the gates let through: (rows,), or (rows, frames) with a frame gate; None without a gate."""
        clips = None if self.shared.gate_site is None else self._rows(x.shape[0], x.device, self.shared.opened, "gate")
        if self.shared.frame_gate_site is None:
            return clips
        frames = self.shared.opened_frames
        if frames is None or frames.shape != x.shape[:2]:
            raise GateError(
                f"the frame gate at {self.shared.frame_gate_site} has not run for the batch that reached {self.site}: "
                "run the whole encoder, in the same model"
            )
        frames = frames.to(x.device)
        return frames if clips is None else clips[:, None] | frames

    def _starting(self, x: Tensor) -> Tensor:
        """(rows, steps): the steps of x that write the first token of a text."""
        starting = self.shared.starting
        if starting is None or starting.shape != x.shape[:2]:
            raise SteeringError(
                f"the tokens that reached {self.site} are not known, which edits of a text's first step need: run the "
                "whole decoder, on token ids"
            )
        return starting.to(x.device)

    def edits(self, rows: int) -> Tensor | bool:
        """Which of so many rows of decoded text are of clips that it edits, if only some frames of them: (rows,)."""
        where, device = "the text", self.strength.device
        live: list[Tensor] = []
        if self.shared.gate_site is not None:
            live.append(self._rows(rows, device, self.shared.opened, "gate", where))
        if self.shared.frame_gate_site is not None:
            frames = self.shared.opened_frames
            live.append(self._rows(rows, device, None if frames is None else frames.any(1), "gate", where))
        edited: Tensor | bool = torch.stack(live).any(0) if live else True
        if self.chooses:
            edited = edited & (self._rows(rows, device, self.choice, "choice", where) >= 0)
        return edited

    def _rows(
        self,
        rows: int,
        device: torch.device,
        per_clip: Tensor | None,
        what: Literal["gate", "choice"],
        where: str | None = None,
    ) -> Tensor:
        """Repeat a per-clip tensor for so many rows: beams and `best_of` repeat a clip's decoder rows, in order."""
        if per_clip is None:
            if what == "gate":
                raise GateError(
                    f"the gate at {self.shared.gate_site or self.shared.frame_gate_site} has not run for the batch "
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
                + ("pass for_clips() one entry per clip of the batch" if what == "choice" else "run the encoder first")
            )
        per_clip = per_clip.to(device)
        return per_clip if rows == clips else per_clip.repeat_interleave(rows // clips)


def token_hook(shared: Shared, after: range) -> Callable[[nn.Module, Any, Any], None]:
    """A hook of the token embedding that notes after which tokens a text's first one is written."""

    def note(module: nn.Module, args: Any, output: Any) -> None:
        (ids,) = args
        shared.starting = (ids >= after.start) & (ids < after.stop)

    return note


def forward_hook(hook: Hook) -> Callable[[nn.Module, Any, Any], Any]:
    """The hook as torch wants it."""

    def steer_output(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):  # transformers 4 returns (residual, ...)
            return (hook(output[0]), *output[1:])
        return hook(output)

    return steer_output
