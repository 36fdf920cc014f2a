"""Sounds of the ways that a `ControlReport` compares, of one clip, for its page."""

from __future__ import annotations

import numpy as np

from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.presented import Sound
from ..frame.residual_clips import Residuals
from ..properties_of_frames.property_bins import UNITS
from ..properties_of_frames.property_maps import PropertyMap
from .control_arms import Aim
from .control_bench import Heard, bench_of, kinds_of
from .control_records import ControlSettings
from .control_reports import NAMES, ControlReport
from .latent_sounds import Decoder

SECONDS = 8.0
"""Longest sound."""


def control_sounds(
    found: ControlReport,
    mapped: PropertyMap,
    sae: SAE,
    residuals: Residuals,
    decoder: Decoder,
    *,
    settings: ControlSettings | None = None,
    progress: Tell | None = None,
) -> list[Sound]:
    """Sounds of a report's best amount, of the clip that is least at the target: unedited, and in each way.

    All else is as `control_report` was given it. `found.report(path, sounds)` puts them on the page, whose players do
    not match levels: an edit of loudness is to be heard.

    Raises:
        SteeringError: the map is of another SAE, has no such class, or latents have no time.
        MissingExtraError: the pitch engine's package is not installed.
    """
    settings = settings or ControlSettings()
    bench, before = bench_of(mapped, sae, residuals, Aim(found.name, found.target), decoder, settings, progress)
    kind, alpha = found.bins.class_at(found.target), found.best.alpha
    at = [kinds_of(each[found.name], found.bins.edges) for each in before]
    shares = [float((own == kind).sum() / max((own >= 0).sum(), 1)) if (own >= 0).any() else 2.0 for own in at]
    clip = int(np.argmin(shares))
    x, names = bench.latents[clip], [name for name, frames in _clips(residuals) if frames]
    made = {"unedited": decoder.decode(x)}
    for arm, name in NAMES.items():
        edited = bench.arms.edited(arm, alpha, x) if arm != "dsp" else None
        sound = bench.processed(x, before[clip], alpha) if edited is None else decoder.decode(edited)
        made[f"{name} at α = {alpha:g}"] = sound
    longest = int(SECONDS * decoder.rate)
    return [
        Sound(f"{names[clip]}, {name}", _says(bench.hear(x, sound)[0], mapped), sound[:longest], decoder.rate)
        for name, sound in made.items()
    ]


def _clips(residuals: Residuals) -> list[tuple[str, int]]:
    """Name of each clip, and its frames."""
    items = None if residuals.excerpts is None else residuals.excerpts.items
    names = [f"clip {i + 1}" for i in range(len(residuals))] if items is None else [item.name for item in items]
    return list(zip(names, residuals.frames.tolist(), strict=True))


def _says(heard: Heard, mapped: PropertyMap) -> str:
    """Medians over the frames that have each property."""
    found = []
    for name, values in heard.items():
        known = values[~np.isnan(values)]
        middle = mapped.of(name).bins.natural(float(np.median(known))) if len(known) else None
        found.append(f"no {name}" if middle is None else f"{name} {middle:.1f} {UNITS[name]}")
    return ", ".join(found)
