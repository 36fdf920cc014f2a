"""The clip gate: a linear probe on the SAE features of a whole clip that opens and shuts the edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .errors import GateError
from .ops import eager
from .sae import SAE

Pool = Literal["max", "mean", "nonzero_mean"]
LARGEST = 1e30
"""Of weights and thresholds, so that their sums stay finite in float32."""


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

    `frames` (clips, frames) bool: which are of the clip, where the others only fill up a batch; None: all.
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

    def __init__(
        self, what: str, features: Sequence[int], weights: Sequence[float], offset: float, sae: SAE, dtype: torch.dtype
    ) -> None:
        super().__init__()
        check_readable(what, features, sae)
        rows = sae.rows(features, dtype)
        self.unit_norm = rows.unit_norm
        self.register_buffer("W_enc", rows.W_enc, persistent=False)
        self.register_buffer("bias", rows.bias, persistent=False)
        self.register_buffer("thresholds", rows.threshold, persistent=False)
        device = rows.W_enc.device
        self.register_buffer("weights", torch.tensor(weights, dtype=dtype, device=device), persistent=False)
        self.register_buffer("offset", torch.tensor(offset, dtype=dtype, device=device), persistent=False)

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
        super().__init__("clip gate", gate.features, gate.weights, gate.bias - gate.threshold, sae, dtype)
        self.pool = gate.pool

    def forward(self, x: Tensor, frames: Tensor | None = None) -> Tensor:
        """How far each clip of residuals x (clips, frames, d_model) is above the threshold: (clips,); see `pool`."""
        return pool(self.read(x), self.pool, frames) @ self.weights + self.offset


def check_readable(what: str, features: Sequence[int], sae: SAE) -> None:
    """Refuse features that the SAE lacks, or that cannot be computed one by one.

    Raises:
        GateError: says which; `what` names the gate.
    """
    if max(features) >= sae.n_features:
        raise GateError(f"the {what} reads feature {max(features)}, but its SAE has {sae.n_features}, counted from 0")
    if not sae.has_own_gates:
        raise GateError(
            f"the {what} needs features that fire on their own; a {sae.gate.kind} gate without a threshold "
            "selects among all of them: calibrate one with SAE.calibrate_threshold()"
        )


def gate_features(sae: SAE, x: Tensor, features: Sequence[int], kind: Pool) -> Tensor:
    """The pooled features (clips, n) that a gate would see on residuals x (clips, frames, d_model)."""
    return pool(eager.activations(x, sae.rows(features, x.dtype)), kind)
