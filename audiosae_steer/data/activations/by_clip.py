"""Residuals of single clips at sites of a model, frames of padding left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SteeringError
from ...models.registry import family_of, tap_at, unwrap
from ...models.sites import Site
from .capture import capture_residuals, frames_of, residuals


def takes_whole_windows(model: Any, site: Site) -> bool:
    """True if the model takes windows of 30 s, of which a shorter clip fills a part."""
    return family_of(unwrap(model)).takes_windows and site.path is None and site.side == "encoder"


def clip_residuals(model: Any, site: Site, clips: Sequence[NDArray[np.float32]]) -> Iterator[Tensor]:
    """The frames (frames, d_model) of each clip at one site; see `clip_residuals_at`."""
    return (found[site] for found in clip_residuals_at(model, [site], clips))


def clip_residuals_at(
    model: Any, sites: Sequence[Site], clips: Sequence[NDArray[np.float32]]
) -> Iterator[dict[Site, Tensor]]:
    """The frames (frames, d_model) of each clip at each site, in float32 on the CPU; one pass fills all sites.

    A pass of a Whisper takes all clips. Frames are in the order of time: the patches of an AST, a row for each band,
    become column after column.

    Args:
        model: a model of a known family that reads audio.
        sites: where to read.
        clips: mono samples at the family's sample rate, at most 30 s each.

    Raises:
        SiteError: the model has no such site, or it takes no audio.
        SteeringError: the residuals are not finite.
    """
    inner = unwrap(model)
    whole = [site for site in sites if takes_whole_windows(inner, site)]
    rest = [site for site in sites if site not in whole]
    if whole and rest:
        both = zip(clip_residuals_at(model, whole, clips), clip_residuals_at(model, rest, clips), strict=True)
        yield from ({**one, **other} for one, other in both)
        return
    if whole:
        rows = residuals(inner, list(clips), [site.layer for site in whole])
        for number, samples in enumerate(clips):
            of_clip = {site: rows[site.layer][number] for site in whole}
            yield {site: _checked(row[: frames_of(len(samples), len(row))]) for site, row in of_clip.items()}
        return
    family = family_of(inner)
    rate, longest = family.sample_rate(inner), family.max_seconds(inner)
    for samples in clips:
        step = len(samples) if longest is None else int(longest * rate)
        pieces: dict[Site, list[Tensor]] = {site: [] for site in rest}
        for start in range(0, len(samples), max(step, 1)):
            piece = samples[start : start + step]
            module, args, kwargs = family.prepare(inner, piece)
            for site, taken in capture_residuals(inner, rest, module, *args, **kwargs).items():
                kept = in_time(inner, site, taken.shape[1], len(piece) / rate)
                pieces[site].append(taken[0, kept.to(taken.device)])
        yield {site: _checked(torch.cat(taken)) for site, taken in pieces.items()}


def in_time(model: Any, site: Site, frames: int, seconds: float) -> Tensor:
    """Positions of the frames that belong to a clip, in the order of time; tokens of no time are left out."""
    family = family_of(model)
    kept = torch.nonzero(family.valid_frames(model, site, frames, seconds))[:, 0]
    tap = tap_at(model, family, site)
    if tap.times is None:
        return kept
    times = tap.times(frames, torch.device("cpu"))[kept]
    finite = torch.isfinite(times)
    return kept[finite][times[finite].argsort(stable=True)]


def _checked(frames: Tensor) -> Tensor:
    if not torch.isfinite(frames).all():  # a gate would make zeros of them
        raise SteeringError("the model's residuals hold NaN or infinite numbers; check its weights")
    return frames.float().cpu().clone()
