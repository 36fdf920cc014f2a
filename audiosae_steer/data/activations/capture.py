"""Capture of residuals at a model's sites, by hooks of torch or in an nnsight trace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import MissingExtraError, SiteError
from ...models.families.whisper_mel import Pad, encoder_path, mel
from ...models.registry import family_of, in_order, tap_at, unwrap
from ...models.sites import Site, Tap
from ..audio import WINDOW


def capture_residuals(
    model: nn.Module, sites: Sequence[Site], module: nn.Module, *args: Any, nnsight: bool = False, **kwargs: Any
) -> dict[Site, Tensor]:
    """The residual (clips, frames, d_model) at each site of `model` while `module(*args, **kwargs)` runs.

    Where a model takes its input in chunks, their frames follow each other.

    Raises:
        SiteError: nothing passes by a site.
        MissingExtraError: nnsight was asked for, and is not installed.
    """
    family = family_of(model, paths=True)
    taps = {site: tap_at(model, family, site) for site in in_order(model, family, sites)}
    read = _traced if nnsight and not family.in_chunks(model) else _hooked
    found = read(module, taps, args, kwargs)
    for site, pieces in found.items():
        if not pieces:
            raise SiteError(f"nothing passed by {site} when {type(module).__name__} ran: take a site of its encoder")
    return {site: torch.cat(pieces, dim=1) for site, pieces in found.items()}


def _hooked(module: nn.Module, taps: dict[Site, Tap], args: Any, kwargs: Any) -> dict[Site, list[Tensor]]:
    found: dict[Site, list[Tensor]] = {site: [] for site in taps}

    def output(site: Site) -> Any:
        return lambda module, args, out: found[site].append(_residual(taps[site], out))

    def inputs(site: Site) -> Any:
        return lambda module, args, kwargs: found[site].append(_residual(taps[site], args or tuple(kwargs.values())))

    handles = [
        tap.module.register_forward_hook(output(site))
        if tap.place == "output"
        else tap.module.register_forward_pre_hook(inputs(site), with_kwargs=True)
        for site, tap in taps.items()
    ]
    try:
        with torch.no_grad():
            module(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _traced(module: nn.Module, taps: dict[Site, Tap], args: Any, kwargs: Any) -> dict[Site, list[Tensor]]:
    try:
        from nnsight import NNsight
    except ImportError as error:
        raise MissingExtraError("nnsight is not installed; run: pip install 'audiosae-steer[nnsight]'") from error
    names = {id(part): name for name, part in module.named_modules()}
    found: dict[Site, list[Tensor]] = {site: [] for site in taps}
    reached = [(site, tap) for site, tap in taps.items() if id(tap.module) in names]
    traced = NNsight(module)
    with torch.no_grad(), traced.trace(*args, **kwargs):
        for site, tap in reached:
            envoy = traced.get(names[id(tap.module)])
            found[site].append(_residual(tap, envoy.output if tap.place == "output" else envoy.input))
    return found


def _residual(tap: Tap, output: Any) -> Tensor:
    x: Tensor = output[0] if isinstance(output, tuple) else output
    return (x.transpose(1, 2) if tap.layout == "bdf" else x).detach()


def residuals(
    model: Any, samples: Sequence[NDArray[np.float32]], layers: Sequence[int], pad: Pad = "silence"
) -> dict[int, Tensor]:
    """Encoder residuals (clips, frames, d_model) of up to 30 s of mono 16-kHz samples each, by layer; see `mel`."""
    inner = unwrap(model)
    found = capture_residuals(
        inner, [Site(layer) for layer in layers], inner.get_submodule(encoder_path(inner)), mel(inner, samples, pad)
    )
    return {site.layer: taken for site, taken in found.items()}


def frames_of(samples: int, frames: int) -> int:
    """Number of a 30-s window's `frames` that hold its first `samples` samples."""
    return min(max(math.ceil(samples / WINDOW * frames), 1), frames)
