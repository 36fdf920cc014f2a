"""Parts of an SAE as its users give them: gate, normalisation, and arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import AudioSAESteerError, CheckpointError

Array = Tensor | NDArray[Any]
"""A tensor, or a NumPy array of numbers."""
GateKind = Literal["relu", "jumprelu", "topk", "batchtopk", "rms"]
NormKind = Literal["none", "scalar", "unit_norm"]


@dataclass(frozen=True)
class Gate:
    """The nonlinearity that makes the activations sparse.

    `topk` keeps the k largest of each frame; `batchtopk` the k·n largest of one clip's n frames, or, once a threshold
    is known, whatever exceeds it (Bussmann et al., arXiv 2412.06410). `rms` divides what a ReLU leaves by
    √(mean square over all features + epsilon), and multiplies by the SAE's gain (Paek et al., arXiv 2510.23802).
    """

    kind: GateKind
    k: int | None = None
    epsilon: float | None = field(default=None, repr=False)
    """Of `rms` alone. The paper does not state it; `torch.nn.RMSNorm` takes that of the dtype, 1.2e-7 in float32."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(GateKind):
            raise CheckpointError(f"gate {self.kind!r} is unknown; expected one of {', '.join(get_args(GateKind))}")
        if self.kind in ("topk", "batchtopk") and (self.k is None or self.k < 1):
            raise CheckpointError(f"a {self.kind} gate needs k >= 1, not {self.k}; the checkpoint's config names it")
        known = self.epsilon is not None and math.isfinite(self.epsilon) and self.epsilon > 0
        if (self.kind == "rms") != known:
            raise CheckpointError(
                f"an rms gate needs the epsilon of its RMSNorm, a number above 0, and no other gate has one; this is "
                f"{self.kind} with {self.epsilon}"
            )


@dataclass(frozen=True)
class Normalisation:
    """Scaling of the residual before the SAE reads it: not at all, by one number, or to norm `scale` per frame."""

    kind: NormKind = "none"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(NormKind):
            known = ", ".join(get_args(NormKind))
            raise CheckpointError(f"normalisation {self.kind!r} is unknown; expected one of {known}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise CheckpointError(f"the normalisation's scale must be a positive number, not {self.scale}")


def as_gate(gate: Gate | GateKind) -> Gate:
    """A gate, from itself or from the name of a kind that has no number.

    Raises:
        CheckpointError: it is neither, or of a kind that needs its k or epsilon.
    """
    if isinstance(gate, Gate):
        return gate
    if isinstance(gate, str):
        if gate == "rms":
            raise CheckpointError(
                'an rms gate needs the epsilon of its RMSNorm: pass gate=Gate("rms", epsilon=1e-6), with that of its '
                "training, and gain="
            )
        if gate in ("topk", "batchtopk"):
            raise CheckpointError(
                f"a {gate} gate needs its k: pass gate=Gate({gate!r}, k=32), with the k of its training"
            )
        return Gate(gate)
    raise CheckpointError(f'gate is a {type(gate).__name__}; expected Gate("topk", k=32), Gate("relu") or "relu"')


def as_normalisation(given: Normalisation | NormKind | None) -> Normalisation:
    """A normalisation, from itself, from the name of a kind that needs no number, or from None.

    Raises:
        CheckpointError: it is none of them.
    """
    if given is None or isinstance(given, Normalisation):
        return given or Normalisation()
    if isinstance(given, str) and given != "scalar":
        return Normalisation(given)
    raise CheckpointError(f'normalisation is {given!r}; expected None, "unit_norm" or Normalisation("scalar", scale)')


def as_tensor(given: Any, name: str, raising: type[AudioSAESteerError]) -> Tensor:
    """A tensor, from itself or from an array or number.

    Raises:
        raising: it is neither.
    """
    if isinstance(given, Tensor):
        return given
    if isinstance(given, (np.ndarray, np.generic, float, int, list, tuple)):
        try:
            return torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise raising(f"{name} cannot be made a tensor ({error}); pass a tensor or an array of numbers") from error
    raise raising(f"{name} is a {type(given).__name__}; expected a tensor or a NumPy array")
