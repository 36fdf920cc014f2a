"""Sites that SAEs are for, and activations there to measure them on."""

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
    """The site an SAE is for: as given, or as its `info` says; it is noted in `info`.

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
    """The sites that SAEs of `source` are for, by the layer that `convert` asks for activations of.

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


def sample_of(audio: Sequence[str | Path], most: int = 64) -> list[Path]:
    """At most `most` files of folders, files, or `.txt` lists of them, evenly spaced.

    Raises:
        SteeringError: `most` is less than 1.
    """
    if most < 1:
        raise SteeringError(f"most is {most}; take at least one file")
    files = list_audio(audio)
    return files[:: -(-len(files) // most)]


def collect_sample(
    model: Any,
    audio: Sequence[str | Path],
    sites: Sequence[Site],
    folder: Path,
    *,
    most: int = 64,
    show: bool = True,
) -> Callable[[Site], Tensor]:
    """Collect a model's residuals on a sample of audio; returns a function of the site that reads them.

    Args:
        model: a model of a known family that reads audio.
        audio: folders, files, or `.txt` lists of them.
        sites: sites to collect at.
        folder: folder for the shards; an interrupted collection resumes.
        most: most files to take, evenly spaced.
        show: show a progress bar.

    Returns:
        Reads residuals (frames, d_model) in float32 at one of `sites`.

    Raises:
        SteeringError: `most` is less than 1, or `folder` holds activations of another model or of other audio.
    """
    collect(model, sample_of(audio, most), list(sites), folder, augment=False, padding_share=0.05, progress=show)

    def read(site: Site) -> Tensor:
        found = load_activations(folder, site)
        return torch.cat([found.train, found.held_out]).float()

    return read
