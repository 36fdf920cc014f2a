"""The clip gate: a linear probe on the SAE features of a whole clip that opens and shuts the edits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .errors import GateError
from .ops import eager
from .sae import SAE

Pool = Literal["max", "mean", "nonzero_mean"]


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
        object.__setattr__(self, "features", tuple(int(i) for i in self.features))
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        if not self.features or len(self.features) != len(self.weights):
            raise GateError(
                f"a clip gate needs one weight per feature; it has {len(self.features)} features and "
                f"{len(self.weights)} weights"
            )
        if min(self.features) < 0 or len(set(self.features)) != len(self.features):
            raise GateError("a clip gate's features must be different indices, counted from 0")
        if not all(math.isfinite(number) for number in (*self.weights, self.bias, self.threshold)):
            raise GateError("a clip gate holds NaN or infinite numbers; calibrate it again")
        if self.pool not in get_args(Pool):
            raise GateError(f"pool {self.pool!r} is unknown; expected one of {', '.join(get_args(Pool))}")


def pool(f: Tensor, kind: Pool) -> Tensor:
    """Pool activations (clips, frames, n) over their frames: (clips, n)."""
    if kind == "max":
        return f.amax(1)
    if kind == "mean":
        return f.mean(1)
    return f.sum(1) / (f > 0).sum(1).clamp(min=1)


class Probe(nn.Module):
    """A clip gate compiled for one SAE: tensors only, no host sync.

    Raises:
        GateError: a feature is out of range, or the SAE selects among all its features.
    """

    W_enc: Tensor
    bias: Tensor
    thresholds: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, gate: ClipGate, sae: SAE, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if max(gate.features) >= sae.n_features:
            raise GateError(
                f"the clip gate reads feature {max(gate.features)}, but its SAE has {sae.n_features}, counted from 0"
            )
        if not sae.has_own_gates:
            raise GateError(
                f"the clip gate needs features that fire on their own; a {sae.gate.kind} gate without a threshold "
                "selects among all of them: calibrate one with SAE.calibrate_threshold()"
            )
        rows = sae.rows(gate.features, dtype)
        self.pool, self.unit_norm = gate.pool, rows.unit_norm
        self.register_buffer("W_enc", rows.W_enc, persistent=False)
        self.register_buffer("bias", rows.bias, persistent=False)
        self.register_buffer("thresholds", rows.threshold, persistent=False)
        device = rows.W_enc.device
        self.register_buffer("weights", torch.tensor(gate.weights, dtype=dtype, device=device), persistent=False)
        offset = torch.tensor(gate.bias - gate.threshold, dtype=dtype, device=device)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """How far each clip of residuals x (clips, frames, d_model) is above the threshold: (clips,)."""
        rows = eager.Rows(self.W_enc, self.bias, self.thresholds, self.W_enc, self.unit_norm)
        f = eager.activations(x.to(self.W_enc.dtype), rows)
        return pool(f, self.pool) @ self.weights + self.offset


def gate_features(sae: SAE, x: Tensor, features: Sequence[int], kind: Pool) -> Tensor:
    """The pooled features (clips, n) that a gate would see on residuals x (clips, frames, d_model)."""
    return pool(eager.activations(x, sae.rows(features, x.dtype)), kind)
