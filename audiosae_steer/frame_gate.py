"""The frame gate: a linear probe on SAE features that opens and shuts the edits frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .clip_gate import Reader, check_readable, checked
from .errors import GateError
from .ops import eager
from .sae import SAE

LONGEST = 30.0
"""Seconds; all that Whisper hears at once."""


@dataclass(frozen=True)
class FrameGate:
    """Opens for frames with weights·g + bias > threshold, g being f[features] at its largest within `reach`.

    It is for clips that hold speech and something else. Each feature counts at its largest within `reach` seconds
    before and after the frame, so that speech anywhere near keeps a frame shut: pauses between words stay as they
    are, and no frame is decided by itself. With a clip gate beside it, a frame is edited if the clip gate opens for
    the clip or the frame gate for the frame. `calibration` says how the numbers were found; it is not used in running
    the gate.
    """

    features: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float = 0.0
    threshold: float = 0.0
    reach: float = 0.5
    calibration: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        features, weights = checked("frame gate", self.features, self.weights, self.bias, self.threshold)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "weights", weights)
        if not (math.isfinite(self.reach) and 0 <= self.reach <= LONGEST):
            raise GateError(f"a frame gate's reach is in seconds, from 0 to {LONGEST:g}, not {self.reach}")


class FrameProbe(Reader):
    """A frame gate compiled for one SAE and one frame rate.

    Raises:
        GateError: a feature is out of range, or the SAE selects among all its features.
    """

    def __init__(self, gate: FrameGate, sae: SAE, frame_rate: float, dtype: torch.dtype = torch.float32) -> None:
        super().__init__("frame gate", gate.features, gate.weights, gate.bias - gate.threshold, sae, dtype)
        self.reach = gate.reach
        self.reach_frames = round(gate.reach * frame_rate)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """How far each frame of residuals x (clips, frames, d_model) is above the threshold: (clips, frames).

        `frames` (clips, frames) bool: which are of the clip, where the others only fill up a batch; None: all.
        """
        f = self.read(x) if frames is None else self.read(x) * frames[..., None]
        return nearby(f, self.reach_frames) @ self.weights + self.offset


def nearby(f: Tensor, reach_frames: int) -> Tensor:
    """The largest of each feature of f (clips, frames, n) within `reach_frames` frames: (clips, frames, n)."""
    if reach_frames == 0 or f.shape[1] == 0:
        return f
    reach = min(reach_frames, f.shape[1] - 1)
    return F.max_pool1d(f.transpose(1, 2), 2 * reach + 1, stride=1, padding=reach).transpose(1, 2)


def frame_features(sae: SAE, x: Tensor, features: Sequence[int] | None, reach_frames: int) -> Tensor:
    """What a frame gate would see at each frame of one clip: (frames, n), to fit one on.

    Args:
        sae: whose features.
        x: residuals (frames, d_model) of the whole clip, in float32 or wider or, computed in float32, in less.
        features: which; None for all.
        reach_frames: how far a frame looks either way, in frames.

    Raises:
        GateError: a feature is out of range, the SAE selects among all its features, or the reach is below 0.
    """
    if reach_frames < 0:
        raise GateError(f"reach_frames is {reach_frames}; expected a number of frames, 0 or more")
    chosen = range(sae.n_features) if features is None else features
    check_readable("frame gate", chosen, sae)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return nearby(eager.activations(wide[None], sae.rows(chosen, wide.dtype)), reach_frames)[0]
