"""Activations that an SAE is measured on: its site in a model, and residuals there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import CheckpointError, SteeringError, ThresholdWarning
from ...models.sites import Side, Site
from ...sae.autoencoder import SAE
from ...sae.convert import layers_in, state_layer
from ...sae.load import load_sae
from ..audio_paths import list_audio
from .collect import collect
from .shards import load_activations


def site_of(sae: SAE, layer: int | None, side: Side | None, where: str) -> Site:
    """Where in the model an SAE is for: as given, or as its `info` says, in which it stands from now on.

    Raises:
        CheckpointError: it says another layer or side than is given, or no layer is known.
        SiteError: there is no such layer or side.
    """
    state_layer(sae, layer, side)
    if sae.info.get("layer") is None:
        raise CheckpointError(f"{where} does not say of which layer it is; name it by --layer")
    return Site(sae.info["layer"], sae.info["side"])


def sites_in(
    source: str | Path, layer: int | None = None, side: Side | None = None, revision: str | None = None
) -> dict[int | None, Site]:
    """Where in the model the SAEs of `source` are for, by the layer that `convert` asks for activations of.

    Raises:
        CheckpointError, HubError: a single source cannot be read, or as `site_of`.
    """
    layers = layers_in(source, revision)
    found: dict[int | None, Site] = {}
    for each in [layer] if layer is not None or not layers else layers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ThresholdWarning)
                sae = load_sae(source, each if layers else None, revision=revision)
            found[each] = site_of(sae, each, side, str(source))
        except CheckpointError:
            if layer is not None or not layers:
                raise
            found[each] = Site(each or 1, side or "encoder")  # converting it says what is wrong, and does the others
    return found


def collect_sample(
    model: Any,
    audio: Sequence[str | Path],
    sites: Sequence[Site],
    folder: Path,
    *,
    most: int = 64,
    show: bool = True,
) -> Callable[[Site], Tensor]:
    """A function that gives a model's residuals (frames, d_model) at a site, on a sample of sound.

    Args:
        model: a model of a known family that hears sound.
        audio: folders, files, or `.txt` lists of them.
        sites: those that will be asked for.
        folder: where they are collected; interrupted, that goes on.
        most: files to hear, evenly spaced.
        show: draw a progress bar.

    Raises:
        SteeringError: `most` is none, or `folder` holds activations of another model or of other audio.
    """
    if most < 1:
        raise SteeringError(f"most is {most}; hear at least one file")
    files = list_audio(audio)
    files = files[:: -(-len(files) // most)]
    collect(model, files, list(sites), folder, augment=False, padding_share=0.05, progress=show)

    def give(site: Site) -> Tensor:
        found = load_activations(folder, site)
        return torch.cat([found.train, found.held_out]).float()

    return give
