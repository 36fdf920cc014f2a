"""A steering in words: gates, edits and cost at each site, and what to say of one that is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from ..errors import AudioSAESteerWarning, EditWarning, NeverCalledWarning
from ..models.registry import family_of, tap_at
from ..models.sites import Site
from .hook import Hook
from .pass_state import Shared
from .thresholds import readers


def explained(model: nn.Module, hooks: Mapping[Site, Hook], shared: Shared) -> list[str]:
    """Gates, edits and cost at each site, a line each."""
    lines = []
    for site, hook in hooks.items():
        if hook.probe is not None:
            lines.append(f"  {site}: a clip gate decides from {len(hook.probe.weights)} features ({hook.probe.pool})")
        if hook.frame_probe is not None:
            also = "" if shared.gate_site is None else ", in clips for which the clip gate stays shut"
            lines.append(
                f"  {site}: a frame gate decides frame by frame from {len(hook.frame_probe.weights)} features "
                f"within {hook.frame_probe.reach:g} s{also}"
            )
        if hook.plan is not None:
            # a block's products take each of its weights once a frame; attention comes on top
            block = tap_at(model, family_of(model, paths=True), site).module
            weights = sum(p.numel() for p in block.parameters() if p.dim() > 1)
            lines.append(f"  {site}: {hook.plan.describe(weights)}{hook.when.words()}")
    return lines


def summary(hooks: Mapping[Site, Hook], shared: Shared, strength: float) -> str:
    """Sites with their paths, gates with their thresholds, and the strength, in short."""
    said = [", ".join(f"{site} ({hook.plan.path})" for site, hook in hooks.items() if hook.plan is not None)]
    for kind, gate in readers(hooks.values()).items():
        said.append(f"{kind} gate at {shared.gate_site if kind == 'clip' else shared.frame_gate_site}")
        said[-1] += f" above {gate.threshold:.4g}"
    return f"{', '.join(said)}; {strength_in_words(strength)}"


def strength_in_words(strength: float) -> str:
    """A strength, and below 0 what that means."""
    return f"strength {strength:g}" + (" (the change turned round)" if strength < 0 else "")


def in_vain(hooks: Mapping[Site, Hook]) -> Iterator[AudioSAESteerWarning]:
    """Warnings of sites whose edits never ran, or never changed anything, as far as that was looked at."""
    edited = {site: hook for site, hook in hooks.items() if hook.plan is not None}
    missed = [str(site) for site, hook in edited.items() if not hook.ran]
    if missed:
        yield NeverCalledWarning(
            f"this steering never ran at {', '.join(missed)}: the model was not called, or another copy of it was"
        )
    for site, hook in edited.items():
        if hook.changed is False and hook.plan is not None and hook.plan.path in ("delta", "full"):
            features = hook.plan.features
            shown = ", ".join(map(str, features[:8])) + (", …" if len(features) > 8 else "")
            yield EditWarning(
                f"this steering ran at {site} and changed nothing there: its features ({shown}) never fired in what "
                "the model was given, or its edits leave them as they are; see which fire with sae.encode(x)"
            )
