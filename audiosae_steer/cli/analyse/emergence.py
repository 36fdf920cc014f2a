"""Command `analyse emergence`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...analyse.diffusion_steps.emergence_records import EmergenceSettings
from ..console import progress
from ..options import Options, with_settings
from .common import Written, finish, read_sae


@with_settings(
    Options(defaults=EmergenceSettings()),
    Options(defaults=Written(), parameter="written", help={"html": "page to write, one self-contained file"}),
)
def emergence(
    trajectory: Annotated[
        Path,
        typer.Option(help="states of a flow, .npz or .safetensors, with the array trajectory (T+1, batch, frames, d)"),
    ],
    sae: Annotated[str, typer.Option(help="the SAE of the latents: file, folder, or user/repo on the Hub")],
    heads: Annotated[
        Path, typer.Option(help="softmax over its features, .npz or .safetensors, with NAME.weight and NAME.bias")
    ],
    settings: EmergenceSettings,
    written: Written,
) -> None:
    """Measure when properties of the final latents show along the steps of a diffusion."""
    from ...analyse.diffusion_steps.emerging import emergence as measure
    from ...analyse.diffusion_steps.property_readers import LinearReader
    from ...analyse.diffusion_steps.trajectories import Trajectory

    path = Trajectory.read(trajectory)
    opened = read_sae(sae, None)
    reader = LinearReader.load(opened, heads)
    with progress() as tell:
        found = measure(path, opened, reader, settings=settings, progress=tell)
    finish(found, written)
