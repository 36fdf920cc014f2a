"""What to do at which site: as the caller lists it, by hand or in a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from ..errors import BakedWarning, FingerprintWarning, GateError, RecipeError, SteeringError
from ..models.marker import marked
from ..models.registry import fingerprint
from ..models.sites import Passes, Site
from ..sae.autoencoder import SAE
from .edits import Edit
from .gates import ClipGate, FrameGate
from .plan import ErrorMode
from .recipes.schema import Recipe, site_of

Choices = Mapping[str, Sequence[Edit]]
Steps = Literal["all", "first"] | tuple[int, int]
"""Which steps are edited: all; of a decoder, those at which the first token of a text is written; of a diffusion, those
from one, counted from 0, up to and without another."""


@dataclass(frozen=True)
class SiteEdits:
    """What to do at one site. `edits` may be a mapping from names to lists, for `Steering.for_clips` to choose from.

    At a decoder's site, `steps="first"` edits only the step that writes a text's first token, where a model decides
    whether anybody speaks. No later step is edited; they still attend to the edited one.
    """

    site: Site
    sae: SAE | None
    edits: Sequence[Edit] | Choices
    error: ErrorMode = "keep"
    steps: Steps = "all"
    flow: tuple[float, float] | None = None
    passes: Passes = "both"


@dataclass(frozen=True)
class SiteGate:
    """A clip gate or a frame gate, with the site whose residual it reads and the SAE whose features it pools."""

    site: Site
    sae: SAE
    gate: ClipGate | FrameGate


AnyGate = ClipGate | FrameGate | SiteGate


def by_path(recipe: Any, site: Site | None) -> bool:
    """Whether every site that is named is a path, for which no family has to know the model."""
    listed = [part.site for part in recipe if isinstance(part, SiteEdits)] if isinstance(recipe, (list, tuple)) else []
    sites = [*listed, *([] if site is None else [site])]
    return bool(sites) and all(isinstance(each, Site) and each.path is not None for each in sites)


def parts_of(recipe: Recipe, model: nn.Module) -> tuple[list[SiteEdits], list[SiteGate]]:
    """What a recipe says to do on a model that it fits.

    Raises:
        RecipeError: it does not fit.
    """
    misfit = recipe.misfit(model)
    if misfit is not None:
        raise RecipeError(f"{recipe} does not fit this model: {misfit}; recipes(model) lists those that do")
    found = fingerprint(model)
    if recipe.model.fingerprint is not None and found is not None and found != recipe.model.fingerprint:
        warnings.warn(
            f"{recipe} was made with other weights of the same shape; steering a fine-tune may work less well: "
            "measure it with `audiosae-steer demo --model ... --audio ...`",
            FingerprintWarning,
            stacklevel=3,
        )
    if recipe.name in marked(model):
        warnings.warn(
            f"{recipe} is baked into this model already, and would be applied twice; load the model anew to steer it "
            "by hooks",
            BakedWarning,
            stacklevel=3,
        )
    saes = recipe.load_saes()
    parts = [
        SiteEdits(
            site_of(spec), saes[spec.sae] if spec.sae else None, {recipe.name: spec.build()}, spec.error, spec.steps
        )
        for spec in recipe.sites
    ]
    gates = [
        SiteGate(site_of(spec), saes[spec.sae], spec.build())
        for spec in (recipe.gate, recipe.frame_gate)
        if spec is not None
    ]
    return parts, gates


def parts_by_hand(
    sites: Sequence[SiteEdits] | None,
    sae: SAE | None,
    layer: int | None,
    side: Literal["encoder", "decoder"],
    site: Site | None,
    edits: Sequence[Edit] | Choices | None,
    error: ErrorMode,
    gate: AnyGate | Sequence[AnyGate] | None,
) -> tuple[list[SiteEdits], list[SiteGate]]:
    """What the arguments of `steer` say to do, where no recipe was named.

    Raises:
        SteeringError, GateError: they contradict each other, or leave something out.
    """
    gates: list[Any] = [] if gate is None else list(gate) if isinstance(gate, (list, tuple)) else [gate]
    bare = any(isinstance(each, (ClipGate, FrameGate)) for each in gates)
    if sites is not None:
        if not isinstance(sites, Sequence) or not all(isinstance(part, SiteEdits) for part in sites):
            raise SteeringError(
                "the second argument is a recipe, or a list of SiteEdits(Site(4), sae, edits); a bare list of edits "
                "goes with its site: steer(model, sae=..., layer=4, edits=[...])"
            )
        if any(given is not None for given in (sae, layer, site, edits)):
            raise SteeringError("pass either a list of SiteEdits, or sae, layer and edits; not both")
        if bare:
            raise GateError("with a list of SiteEdits, say where the gate reads: SiteGate(Site(3), sae, gate)")
        return list(sites), gates
    if (layer is None) == (site is None) or edits is None:
        raise SteeringError('steer() needs a recipe ("no-false-speech"), or by hand: sae=..., layer=4, edits=[...]')
    site = Site(layer or 0, side) if site is None else site
    if bare and sae is None:
        raise GateError("a gate reads SAE features: pass sae=")
    placed = [SiteGate(site, sae, each) if isinstance(each, (ClipGate, FrameGate)) and sae else each for each in gates]
    return [SiteEdits(site, sae, edits, error)], placed
