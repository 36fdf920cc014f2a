"""A steering in words: gates, edits and cost at each site, and what to say of one that is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from ..errors import AudioSAESteerWarning, EditWarning, NeverCalledWarning
from ..models.registry import family_of, tap_at
from ..models.sites import Site
from .hook import Hook
from .opening import readers
from .pass_state import Shared
from .recipes.schema import Recipe
from .trade_off import gate_sentence, measured_sentences, trade_sentences


def explained(model: nn.Module, hooks: Mapping[Site, Hook], shared: Shared, recipe: Recipe | None) -> list[str]:
    """Behaviour first: what is edited, for which clips, and what the gates trade; the cost at each site last."""
    lines, also = [], "" if shared.gate_site is None else ", in clips for which the clip gate stays shut"
    for site, hook in hooks.items():
        for gate in readers([hook]).values():
            lines.append(gate_sentence(gate.gate, str(site), gate.threshold, also))
            lines += [f"  {line}" for line in trade_sentences(gate.gate, gate.threshold)]
    if shared.gated and recipe is not None:
        lines += [f"  {line}" for line in measured_sentences(recipe.measured)]
    edited = "Where a gate opens, at" if shared.gated else "For every clip, at"
    for site, hook in hooks.items():
        lines += [f"{edited} {site}: {words}{hook.when.words()}." for words in hook.words]
    for site, hook in hooks.items():
        if hook.plan is not None:
            # a block's products take each of its weights once a frame; attention comes on top
            block = tap_at(model, family_of(model, paths=True), site).module
            weights = sum(p.numel() for p in block.parameters() if p.dim() > 1)
            lines.append(f"Cost at {site}: {hook.plan.describe(weights)}")
    return lines


def summary(hooks: Mapping[Site, Hook], shared: Shared, strength: float) -> str:
    """Sites with their paths, gates with their thresholds, and the strength, in short."""
    said = [", ".join(f"{site} ({hook.plan.path})" for site, hook in hooks.items() if hook.plan is not None)]
    sites = {"clip": shared.gate_site, "frame": shared.frame_gate_site, "timestamp": shared.timestamp_gate_site}
    said += [f"{kind} gate at {site}" for kind, site in sites.items() if site is not None]
    return f"{', '.join(said)}; {strength_in_words(strength)}{thresholds_in_words(hooks)}"


def thresholds_in_words(hooks: Mapping[Site, Hook]) -> str:
    """The gates' thresholds, in short; nothing without a gate."""
    gates = readers(hooks.values())
    if len(gates) == 1:
        return f", threshold {next(iter(gates.values())).threshold:.4g}"
    return "".join(f", {kind} gate's threshold {gate.threshold:.4g}" for kind, gate in sorted(gates.items()))


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
