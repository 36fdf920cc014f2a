"""Ways of changing latents or sound that stand beside an edit: its like at random, means of classes, processing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...sae.autoencoder import SAE
from ...steering.edits import Add, FeatureEdit, Push
from ...steering.joint_edits import Turn
from ...steering.latents import steer_latents
from ..properties_of_frames.property_edits import direction_of
from ..properties_of_frames.property_maps import PropertyMap
from .control_records import ControlSettings


@dataclass(frozen=True)
class Aim:
    """The class that an edit is to reach."""

    name: str
    """pitch, loudness or centroid."""
    target: float
    """A value within the class."""


@dataclass(frozen=True)
class Arms:
    """Latents changed in each way."""

    mapped: PropertyMap
    sae: SAE
    aim: Aim
    settings: ControlSettings
    means: Tensor | None
    """(d,) mean latent of the target's class less that of the others; None where no frame is of it."""
    rate: float
    """Latents per second."""

    def edited(self, arm: str, alpha: float, x: Tensor) -> Tensor:
        """Latents (frames, d) of one clip after an arm's change; `dsp` has none."""
        if arm == "edit":
            return self._steered(x, self.edits(alpha))
        if arm == "random":
            return self._steered(x, self._random(alpha))
        moved = self._steered(x, self.edits(alpha)) - x
        if self.means is None:
            return x
        # of the size that the edit has on this clip
        size = float(moved.norm(dim=-1).mean()) / max(float(self.means.norm()), 1e-12)
        return self._steered(x, [Push((self.means * np.sign(alpha or 1)).tolist(), size)])

    def edits(self, alpha: float) -> Sequence[FeatureEdit]:
        """The edit itself."""
        own = self.settings
        return self.mapped.edit(
            self.aim.name, self.aim.target, alpha, keep=own.keep, mode=own.mode, margin=own.margin
        )  # fmt: skip

    def _random(self, alpha: float) -> Sequence[FeatureEdit]:
        """A constant of the same norm over the same features, in a direction of no meaning."""
        own = self.mapped.of(self.aim.name)
        place = own.map.classes.index(own.bins.class_at(self.aim.target))
        direction = direction_of(np.asarray(own.map.weights), place, self.mapped.typical_norm)
        drawn = np.random.default_rng(self.settings.seed).standard_normal(len(direction))
        drawn *= alpha * float(np.linalg.norm(direction)) / float(np.linalg.norm(drawn))
        kind = Turn if self.settings.keep == "rms" else Add
        return [kind(list(self.mapped.features), drawn.tolist())]

    def _steered(self, x: Tensor, edits: Sequence[FeatureEdit | Push]) -> Tensor:
        return steer_latents(x[None], self.sae, edits, layout="bfd", frame_rate=self.rate)[0]


def means_of(latents: Sequence[Tensor], kinds: Sequence[np.ndarray], kind: int) -> Tensor | None:
    """Mean latent of one class less that of the others; None where either is missing."""
    x, own = torch.cat(list(latents)), torch.from_numpy(np.concatenate(list(kinds)))
    inside, outside = x[own == kind], x[(own != kind) & (own >= 0)]
    return inside.mean(0) - outside.mean(0) if len(inside) and len(outside) else None
