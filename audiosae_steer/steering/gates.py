"""Clip and frame gates: linear probes on SAE features that open and shut the edits, by clip or by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import GateError
from ..ops import eager
from ..sae.autoencoder import SAE

Pool = Literal["max", "mean", "nonzero_mean"]
Kind = Literal["clip", "frame", "timestamp"]
"""Of gates."""
LARGEST = 1e30
"""Bound on weights and thresholds, so that their sums stay finite in float32, which ends at 3.4e38."""


@dataclass(frozen=True)
class ClipGate:
    """Opens for clips with weights·pool(f[features]) + bias > threshold; only those are edited.

    The pool runs over all frames that the layer sees, in Whisper the whole 30-s window with its padding.
    `calibration` says how the numbers were found; it is not used in running the gate.
    """

    features: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float = 0.0
    threshold: float = 0.0
    pool: Pool = "max"
    calibration: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        features, weights = checked("clip gate", self.features, self.weights, self.bias, self.threshold)
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "weights", weights)
        if self.pool not in get_args(Pool):
            raise GateError(f"pool {self.pool!r} is unknown; expected one of {', '.join(get_args(Pool))}")


def checked(
    what: str, features: Sequence[int], weights: Sequence[float], *numbers: float
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Features and weights of a linear probe, as plain numbers.

    Raises:
        GateError: they do not make a probe; `what` names it.
    """
    features, weights = tuple(int(i) for i in features), tuple(float(w) for w in weights)
    if not features or len(features) != len(weights):
        raise GateError(
            f"a {what} needs one weight per feature; it has {len(features)} features and {len(weights)} weights"
        )
    if min(features) < 0 or len(set(features)) != len(features):
        raise GateError(f"a {what}'s features must be different indices, counted from 0")
    if not all(abs(number) <= LARGEST for number in (*weights, *numbers)):
        raise GateError(f"a {what} holds NaN, infinite or numbers above {LARGEST:g}; calibrate it again")
    return features, weights


def pool(f: Tensor, kind: Pool, frames: Tensor | None = None) -> Tensor:
    """Pool activations (clips, frames, n) over their frames: (clips, n).

    `frames` (clips, frames) bool: the frames of the clip, without padding; None: all.
    """
    if frames is not None:
        f = f * frames[..., None]
    if kind == "max":
        return f.amax(1)
    if kind == "mean":
        return f.mean(1) if frames is None else f.sum(1) / frames.sum(1, keepdim=True).clamp(min=1)
    return f.sum(1) / (f > 0).sum(1).clamp(min=1)


class Reader(nn.Module):
    """The rows of an SAE that a gate reads, and the weights it gives them: tensors only, no host sync.

    Raises:
        GateError: a feature is out of range, or the SAE selects among all its features.
    """

    W_enc: Tensor
    bias: Tensor
    thresholds: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, what: str, gate: ClipGate | FrameGate, sae: SAE, dtype: torch.dtype) -> None:
        super().__init__()
        check_readable(what, gate.features, sae)
        self.gate, self.threshold = gate, gate.threshold
        rows = sae.rows(gate.features, dtype)
        self.unit_norm = rows.unit_norm
        self.register_buffer("W_enc", rows.W_enc, persistent=False)
        self.register_buffer("bias", rows.bias, persistent=False)
        self.register_buffer("thresholds", rows.threshold, persistent=False)
        device = rows.W_enc.device
        self.register_buffer("weights", torch.tensor(gate.weights, dtype=dtype, device=device), persistent=False)
        offset = gate.bias - gate.threshold
        self.register_buffer("offset", torch.tensor(offset, dtype=dtype, device=device), persistent=False)

    @property
    def features(self) -> tuple[int, ...]:
        """The features that it reads."""
        return self.gate.features

    def set_threshold(self, threshold: float) -> None:
        """Take another threshold for what is decided from now on, by compiled code as well."""
        self.threshold = threshold
        self.offset.fill_(self.gate.bias - threshold)

    @property
    def d_model(self) -> int:
        """Width of the residual that it reads."""
        return self.W_enc.shape[-1]

    def read(self, x: Tensor) -> Tensor:
        """The activations (clips, frames, n) of its features on residuals x (clips, frames, d_model)."""
        rows = eager.Rows(self.W_enc, self.bias, self.thresholds, self.W_enc, self.unit_norm)
        return eager.activations(x.to(self.W_enc.dtype), rows)


class Probe(Reader):
    """A clip gate compiled for one SAE.

    Raises:
        GateError: a feature is out of range, or the SAE selects among all its features.
    """

    def __init__(self, gate: ClipGate, sae: SAE, dtype: torch.dtype = torch.float32) -> None:
        super().__init__("clip gate", gate, sae, dtype)
        self.pool = gate.pool

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Score minus threshold (clips,) of residuals x (clips, frames, d_model); `frames` as for `pool`."""
        return pool(self.read(x), self.pool, frames) @ self.weights + self.offset


def check_readable(what: str, features: Sequence[int], sae: SAE) -> None:
    """Refuse features that the SAE lacks, or that cannot be computed one by one.

    Raises:
        GateError: says which; `what` names the gate.
    """
    if max(features) >= sae.n_features:
        raise GateError(f"the {what} reads feature {max(features)}, but its SAE has {sae.n_features}, counted from 0")
    if sae.gate.kind == "rms":
        raise GateError(
            f"the {what} needs features that fire on their own; an rms gate divides each by the norm of all of them: "
            "take a relu, jumprelu or batchtopk SAE for the gate, and this one for the edits"
        )
    if not sae.has_own_gates:
        raise GateError(
            f"the {what} needs features that fire on their own; a {sae.gate.kind} gate without a threshold "
            "selects among all of them: calibrate one with `audiosae-steer calibrate-threshold`, "
            "or SAE.calibrate_threshold()"
        )


def gate_features(sae: SAE, x: Tensor, features: Sequence[int], kind: Pool) -> Tensor:
    """The pooled features (clips, n) that a gate would see on residuals x (clips, frames, d_model)."""
    return pool(eager.activations(x, sae.rows(features, x.dtype)), kind)


LONGEST = 30.0
"""Seconds of Whisper's window."""


@dataclass(frozen=True)
class FrameGate:
    """Opens for frames with weights·g + bias > threshold, g being f[features] at its largest within `reach`.

    It is for clips that hold speech and something else. Each feature counts at its largest within `reach` seconds
    before and after the frame, so that speech anywhere near keeps a frame shut: pauses between words are not
    edited, and no frame is decided by itself. With a clip gate beside it, a frame is edited if the clip gate opens
    for the clip or the frame gate for the frame. `calibration` says how the numbers were found; it is not used in
    running the gate.
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


@dataclass(frozen=True)
class TimestampGate(FrameGate):
    """A frame gate whose open frames take no timestamps: it opens for frames without speech, and edits nothing.

    A segment may then begin and end only where somebody speaks, and begins within a second of where speech goes on; the
    text does not end after a segment while a second of speech is left. In clips in which it is open for every frame,
    or for none but those that fill up a window, or for which a clip gate opens, nothing is forbidden. It needs decoding
    with timestamps.

    What is brief does not count, the reach included: less than `least_speech` seconds between two gaps are no place for
    a timestamp, since a cough or one wrong frame may look like speech, and less than `least_gap` seconds without speech
    are a pause, which Whisper's timestamps may lie in.
    """

    reach: float = 0.2
    least_speech: float = 0.5
    least_gap: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("least_speech", self.least_speech), ("least_gap", self.least_gap)):
            if not (math.isfinite(value) and 0 <= value <= LONGEST):
                raise GateError(f"a timestamp gate's {name} is in seconds, from 0 to {LONGEST:g}, not {value}")


class FrameProbe(Reader):
    """A frame gate compiled for one SAE and one frame rate.

    Raises:
        GateError: a feature is out of range, or the SAE selects among all its features.
    """

    def __init__(self, gate: FrameGate, sae: SAE, frame_rate: float, dtype: torch.dtype = torch.float32) -> None:
        super().__init__("frame gate", gate, sae, dtype)
        self.reach = gate.reach
        self.reach_frames = round(gate.reach * frame_rate)

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """Score minus threshold of each frame of residuals x (clips, frames, d_model): (clips, frames).

        `frames` (clips, frames) bool: the frames of the clip, without padding; None: all.
        """
        f = self.read(x) if frames is None else self.read(x) * frames[..., None]
        return nearby(f, self.reach_frames) @ self.weights + self.offset


class TimestampProbe(FrameProbe):
    """A timestamp gate compiled for one SAE and one frame rate.

    Raises:
        GateError: a feature is out of range, or the SAE selects among all its features.
    """

    def __init__(self, gate: TimestampGate, sae: SAE, frame_rate: float, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(gate, sae, frame_rate, dtype)
        self.least_speech, self.least_gap = (round(each * frame_rate) for each in (gate.least_speech, gate.least_gap))

    def scores(self, x: Tensor) -> Tensor:
        """Scores of every frame of x, without the threshold: (clips, frames)."""
        return super().forward(x) + self.threshold

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """As for a frame gate, with the opposite sign for stretches that are too brief to count."""
        margin = super().forward(x, frames)
        opened = self.opened(margin > 0)
        brief = opened != (margin > 0)
        other = torch.where(opened, torch.finfo(margin.dtype).tiny - margin, -margin)
        return torch.where(brief, other, margin)

    def beside(self, margin: Tensor, filled: Tensor | None) -> Tensor:
        """Margins (clips, frames) with the opposite sign in clips whose one gap is what fills up their window.

        `filled` (clips, n) bool, as many to each frame; None or of another number: as they are. Such a clip is decoded
        as it would be without the gate, bit for bit.
        """
        frames = margin.shape[1]
        if filled is None or filled.shape[0] != margin.shape[0] or filled.shape[1] % frames:
            return margin
        inner = ~filled.to(margin.device).reshape(len(filled), frames, -1).all(2)
        gap = lasting((margin > 0) & inner, self.least_gap).any(1, keepdim=True)
        return torch.where(gap, margin, -margin.abs())

    def opened(self, above: Tensor) -> Tensor:
        """Frames (clips, frames) for which it opens, of a mask of those whose score is above the threshold."""
        spoken = lasting(~above, self.least_speech)
        return lasting(~spoken, self.least_gap)


def lasting(mask: Tensor, least: int) -> Tensor:
    """Of the stretches of True in a mask (clips, frames), those of at least so many frames.

    A stretch at an end of the clip may go on beyond it, and counts by its frames within.
    """
    least = min(least, mask.shape[1])
    if least <= 1:
        return mask
    starts = ~nearest(~mask[..., None], least)  # so many follow on each other from here
    return nearest(F.pad(starts, (0, 0, least - 1, least - 1)), least)[..., 0]


def nearby(f: Tensor, reach_frames: int) -> Tensor:
    """The largest of each feature of f (clips, frames, n) within `reach_frames` frames: (clips, frames, n)."""
    if reach_frames == 0 or f.shape[1] == 0:
        return f
    reach = min(reach_frames, f.shape[1] - 1)
    return nearest(F.pad(f, (0, 0, reach, reach), value=-torch.inf), 2 * reach + 1)


def nearest(f: Tensor, width: int) -> Tensor:
    """The largest of `width` frames from each on, of f (clips, frames, n): (clips, frames − width + 1, n).

    Windows of twice the width from two that overlap: a few passes over f, where pooling takes one for each frame.
    """
    done = 1
    while done < width:
        step = min(done, width - done)
        ahead, behind = f[:, step:], f[:, : f.shape[1] - step]
        f = ahead | behind if f.dtype is torch.bool else torch.maximum(ahead, behind)
        done += step
    return f


def frame_features(sae: SAE, x: Tensor, features: Sequence[int] | None, reach_frames: int) -> Tensor:
    """Features (frames, n) that a frame gate would read at each frame of one clip, to fit one on.

    Args:
        sae: the SAE.
        x: residuals (frames, d_model) of the whole clip, in float32 or wider or, computed in float32, in less.
        features: their indices; None for all.
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
