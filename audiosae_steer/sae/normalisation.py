"""Measurement of what an SAE's file leaves open, on activations: its input normalisation, and its threshold.

The AudioSAE paper (arXiv 2602.05027) does not say whether residuals are normalised before the SAE, nor do the files of
most libraries. The candidates are those that trainers use; the one that leaves the least variance unexplained is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ActivationError, CheckpointError
from .autoencoder import SAE, Normalisation
from .quality import blocks, measure

CLEARLY = 0.98
"""Another normalisation than none has to leave less than this share of its unexplained variance."""
FRAMES = 16_384
"""Frames on which candidates are compared."""


def candidates(activations: Tensor) -> dict[str, Normalisation]:
    """The ways in which trainers normalise, by name.

    Args:
        activations: (frames, d_model): what their sizes are taken from.
    """
    norms = activations.double().norm(dim=-1)
    root = math.sqrt(activations.shape[-1])
    return {
        "none": Normalisation("none"),
        "norm 1 per frame": Normalisation("unit_norm", 1.0),
        "norm √d per frame": Normalisation("unit_norm", root),
        "mean norm √d": Normalisation("scalar", root / float(norms.mean())),  # SAELens
        "mean square norm 1": Normalisation("scalar", 1 / float(norms.square().mean().sqrt())),  # dictionary_learning
    }


def settle(sae: SAE, activations: Tensor | Sequence[Tensor], where: str, *, stated: bool) -> SAE:
    """The SAE with what its file leaves open settled on activations, and `info` saying how.

    Args:
        sae: as it was read.
        activations: residuals (frames, d_model) or (clips, frames, d_model) of the model and layer that it is for; or
            a list of clips (frames, d_model).
        where: its file, for messages.
        stated: whether the file says how its input is normalised. Else the candidates are compared.

    Raises:
        ActivationError: they are empty, of another width, or not finite.
        CheckpointError: the SAE explains nothing of them.
    """
    clips = _checked(sae, activations, where)
    frames = torch.cat([clip.reshape(-1, sae.d_model) for clip in clips])
    count = len(frames)
    sample = frames[:: max(1, count // FRAMES)]
    ways = {_name(sae.normalisation): sae.normalisation} if stated else candidates(frames)
    tried = {name: sae.altered(normalisation=way) for name, way in ways.items()}
    fvu = {name: measure(one, sample).fvu for name, one in tried.items()}
    best = min(fvu, key=lambda name: fvu[name])
    chosen = "none" if "none" in fvu and fvu[best] > CLEARLY * fvu["none"] else best
    if not fvu[chosen] < 1:
        raise CheckpointError(
            f"{where} explains nothing of these activations (FVU {fvu[chosen]:.3g} at best, {chosen}): they are of "
            "another model or layer than it was trained on, or the file is damaged"
        )
    because = "the file says so" if stated else f"the least FVU of {len(ways)} candidates on {len(sample)} frames"
    settled = tried[chosen]
    settled.info["normalisation"] = {"chosen": chosen, "because": because, "fvu": fvu}
    if settled.gate.kind == "batchtopk" and settled.threshold is None:
        settled = settled.calibrate_threshold([block for clip in clips for block in blocks(clip)])
        settled.info["threshold"] = f"calibrated on {count} frames: the file has none that was ever set"
    return settled


def _checked(sae: SAE, activations: Tensor | Sequence[Tensor], where: str) -> list[Tensor]:
    clips = [activations] if isinstance(activations, Tensor) else list(activations)
    if not clips or not all(isinstance(clip, Tensor) and clip.dim() in (2, 3) and clip.numel() for clip in clips):
        raise ActivationError("no activations; give a tensor (frames, d_model), or one for each clip")
    for clip in clips:
        if clip.shape[-1] != sae.d_model:
            raise ActivationError(
                f"{where} reads residuals of width {sae.d_model}, and these activations are {clip.shape[-1]} wide; "
                "collect them from the model and layer that it was trained on"
            )
        if not torch.isfinite(clip).all():
            raise ActivationError("the activations hold NaN or infinite numbers; collect them anew")
    return clips


def _name(way: Normalisation) -> str:
    if way.kind == "none":
        return "none"
    return f"norm {way.scale:.4g} per frame" if way.kind == "unit_norm" else f"times {way.scale:.4g}"
