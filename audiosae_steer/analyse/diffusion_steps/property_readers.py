"""Readers of properties from latents: the protocol that a map of properties satisfies, and softmax over features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ...errors import SteeringError
from ...sae.autoencoder import SAE
from ...sae.given import as_tensor
from .trajectories import read_arrays


class PropertyReader(Protocol):
    """Anything that tells the classes of properties (pitch, loudness, timbre) from latents."""

    def probabilities(self, latents: Tensor) -> Mapping[str, Any]:
        """Probabilities {property: (n, frames, classes)} of latents (n, frames, d), arrays or tensors."""


class LinearHead(NamedTuple):
    """A linear layer over features, before the softmax."""

    weight: Tensor
    """(classes, F)."""
    bias: Tensor
    """(classes,)."""


class LinearReader:
    """Property reader p = softmax(W·f + b) over the features f of an SAE, as 2510.23802 has it.

    Args:
        sae: the SAE of the latents.
        heads: W (classes, F) and b (classes,) of each property.

    Raises:
        SteeringError: there is no head, or one is of another number of features or has fewer than two classes.
    """

    def __init__(self, sae: SAE, heads: Mapping[str, Any]) -> None:
        self.sae = sae
        self.heads = {
            name: LinearHead(*(as_tensor(part, name, SteeringError).float() for part in head))
            for name, head in heads.items()
        }
        if not self.heads:
            raise SteeringError("there is no property to read; give W (classes, F) and b (classes,) of at least one")
        for name, head in self.heads.items():
            classes = head.bias.numel()
            if head.weight.shape != (classes, sae.n_features) or classes < 2:
                raise SteeringError(
                    f"the head of {name} has W {tuple(head.weight.shape)} and b {tuple(head.bias.shape)}; expected "
                    f"(classes, {sae.n_features}) and (classes,), with two classes at least"
                )

    @classmethod
    def load(cls, sae: SAE, path: str | Path) -> LinearReader:
        """A reader from an `.npz` or `.safetensors` file with arrays `NAME.weight` and `NAME.bias` of each property.

        Raises:
            SteeringError: the file cannot be read, or holds no such arrays.
        """
        found = read_arrays(Path(path))
        names = sorted({name.rpartition(".")[0] for name in found if name.endswith((".weight", ".bias"))})
        lone = [name for name in names if not {f"{name}.weight", f"{name}.bias"} <= set(found)]
        if not names or lone:
            raise SteeringError(
                f"{Path(path).name} {'lacks the weight or bias of ' + lone[0] if lone else 'holds no property'}; "
                "expected arrays NAME.weight (classes, F) and NAME.bias (classes,) of each"
            )
        return cls(sae, {name: (found[f"{name}.weight"], found[f"{name}.bias"]) for name in names})

    def probabilities(self, latents: Tensor) -> dict[str, Tensor]:
        """Probabilities {property: (n, frames, classes)} of latents (n, frames, d); one step is encoded at a time."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.heads}
        with torch.no_grad():
            for x in latents:
                f = self.sae.encode(x)
                for name, head in self.heads.items():
                    parts[name].append((f @ head.weight.T.to(f) + head.bias.to(f)).softmax(-1))
        return {name: torch.stack(each) for name, each in parts.items()}
