"""Residuals of one block at each step of a diffusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import SiteError
from ...models.registry import family_of, tap_at, unwrap
from ...models.sites import Moment, Site
from .trajectories import Trajectory


def read_block_steps(
    model: Any,
    site: Site,
    sample: Callable[[], Any],
    *,
    flow: tuple[float, float] = (0.0, 1.0),
    conditional: bool = True,
) -> Trajectory:
    """Residuals at a site of DiffRhythm at each step while `sample()` runs, as a trajectory that is no path.

    Args:
        model: a `CFM`, or its transformer.
        site: the block.
        sample: runs the model once, such as `lambda: model.sample(...)`.
        flow: times from which and up to which steps are kept, the second left out, as in `SiteEdits(flow=...)`.
        conditional: of a guided step, keep the conditional pass, or the other.

    Returns:
        A `Trajectory` of shape (steps, batch, frames, d_model), whose readings are `state` and `line`.

    Raises:
        SiteError: the model is no diffusion, there is no such site, or fewer than two steps passed by it.
    """
    inner = unwrap(model)
    family = family_of(inner)
    if not family.diffuses:
        raise SiteError(f"{type(inner).__name__} has no steps of a diffusion; give a CFM of DiffRhythm")
    tap = tap_at(inner, family, site)
    moment: list[Moment] = [Moment()]
    kept: list[Tensor] = []
    times: list[float] = []

    def keep(given: Any) -> None:
        now, t = moment[0], float(moment[0].flow)
        if now.conditional == conditional and flow[0] <= t < flow[1]:
            x = given[0] if isinstance(given, tuple) else given
            kept.append(x.detach().float().cpu())
            times.append(t)

    closers = list(family.watch(inner, lambda now: moment.__setitem__(0, now), windows=False))
    if tap.place == "output":
        closers.append(tap.module.register_forward_hook(lambda module, args, out: keep(out)).remove)
    else:
        hook = tap.module.register_forward_pre_hook(
            lambda module, args, kwargs: keep(args or tuple(kwargs.values())), with_kwargs=True
        )
        closers.append(hook.remove)
    try:
        with torch.no_grad():
            sample()
    finally:
        for close in closers:
            close()
    if len(kept) < 2:
        raise SiteError(
            f"{len(kept)} steps passed by {site} while t was from {flow[0]:g} to {flow[1]:g}; sample more steps, or "
            "widen flow"
        )
    return Trajectory.of(torch.stack(kept), times, path=False)
