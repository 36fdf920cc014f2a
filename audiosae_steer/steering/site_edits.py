"""Edits and gates by site, from a recipe or from the arguments of `steer`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from ..errors import BakedWarning, FingerprintWarning, GateError, RecipeError, SteeringError
from ..models.marker import marked
from ..models.registry import fingerprint
from ..models.sites import Passes, Side, Site
from ..sae.autoencoder import SAE
from .edits import Edit
from .gates import ClipGate, FrameGate
from .plan import ErrorMode
from .recipes.load import load_recipe
from .recipes.schema import Recipe, site_of

Choices = Mapping[str, Sequence[Edit]]
Steps = Literal["all", "first"] | tuple[int, int]
"""Steps that are edited: all; of a decoder, those at which the first token of a text is written; of a diffusion, those
from one, counted from 0, up to and without another."""


@dataclass(frozen=True)
class SiteEdits:
    """Edits at one site. `edits` may be a mapping from names to lists, for `Steering.for_clips` to choose from.

    At a decoder's site, `steps="first"` edits only the step that writes a text's first token, where a model decides
    between a text and none. No later step is edited; they still attend to the edited one.
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
    """A gate of any kind, with the site whose residual it reads and the SAE whose features it pools."""

    site: Site
    sae: SAE
    gate: ClipGate | FrameGate


AnyGate = ClipGate | FrameGate | SiteGate


class Request(NamedTuple):
    """Edits and gates by their sites."""

    parts: list[SiteEdits]
    gates: list[SiteGate]


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """Arguments of `steer` where no recipe is named; see there."""

    sae: SAE | None = None
    layer: int | None = None
    side: Side = "encoder"
    site: Site | None = None
    edits: Sequence[Edit] | Choices | None = None
    error: ErrorMode = "keep"
    gate: AnyGate | Sequence[AnyGate] | None = None

    @property
    def given(self) -> bool:
        """Anything is given that says what to edit."""
        return any(given is not None for given in (self.sae, self.layer, self.site, self.edits))

    @property
    def gates(self) -> list[Any]:
        """The gates, in a list; nothing says yet that they are some."""
        if isinstance(self.gate, (list, tuple)):
            return list(self.gate)
        return [] if self.gate is None else [self.gate]


def by_path(recipe: Any, site: Site | None) -> bool:
    """Every site that is named is a path, for which no family has to know the model."""
    listed = [part.site for part in recipe if isinstance(part, SiteEdits)] if isinstance(recipe, (list, tuple)) else []
    sites = [*listed, *([] if site is None else [site])]
    return bool(sites) and all(isinstance(each, Site) and each.path is not None for each in sites)


def given_parts(
    recipe: str | Path | Recipe | Sequence[SiteEdits] | None, by_hand: ByHand, model: nn.Module
) -> tuple[Recipe | None, list[SiteEdits], list[SiteGate]]:
    """Recipe, edits and gates that the arguments of `steer` name.

    Raises:
        SteeringError, GateError, RecipeError: they contradict each other, leave something out, or do not fit the model.
    """
    if not isinstance(recipe, (str, Path, Recipe)):
        return None, *parts_by_hand(recipe, by_hand)
    if by_hand.given or by_hand.gate is not None:
        raise SteeringError("pass either a recipe, or sae, layer, edits and gate by hand; not both")
    used = load_recipe(recipe, model)
    return used, *parts_of(used, model, stacklevel=4)


def parts_of(recipe: Recipe, model: nn.Module, stacklevel: int = 2) -> Request:
    """Edits and gates of a recipe, on a model that it fits.

    Raises:
        RecipeError: it does not fit.
    """
    misfit = recipe.misfit(model)
    if misfit is not None:
        raise RecipeError(
            f"{recipe} does not fit this model: {misfit}; recipes(model), or "
            "`audiosae-steer info MODEL`, lists those that do"
        )
    found = fingerprint(model)
    if recipe.model.fingerprint is not None and found is not None and found != recipe.model.fingerprint:
        warnings.warn(
            f"{recipe} was made with other weights of the same shape; steering a fine-tune may work less well: "
            "measure it with `audiosae-steer demo --model ... --audio ...`",
            FingerprintWarning,
            stacklevel=stacklevel,
        )
    if recipe.name in marked(model):
        warnings.warn(
            f"{recipe} is baked into this model already, and would be applied twice; to steer it by hooks, load "
            f"the unbaked model, such as {recipe.model.name}",
            BakedWarning,
            stacklevel=stacklevel,
        )
    saes = recipe.load_saes()
    parts = [
        SiteEdits(
            site_of(spec), saes[spec.sae] if spec.sae else None, {recipe.name: spec.build()}, spec.error, spec.steps
        )
        for spec in recipe.sites
    ]
    gates = [SiteGate(site_of(spec), saes[spec.sae], spec.build()) for spec in recipe.gates]
    return Request(parts, gates)


def parts_by_hand(sites: Sequence[SiteEdits] | None, by_hand: ByHand) -> Request:
    """Edits and gates of `steer`'s arguments, where no recipe is named.

    Raises:
        SteeringError, GateError: they contradict each other, or leave something out.
    """
    gates = by_hand.gates
    bare = any(isinstance(each, (ClipGate, FrameGate)) for each in gates)
    if sites is not None:
        if not isinstance(sites, Sequence) or not all(isinstance(part, SiteEdits) for part in sites):
            raise SteeringError(
                "the second argument is a recipe, or a list of SiteEdits(Site(4), sae, edits); a bare list of edits "
                "goes with its site: steer(model, sae=..., layer=4, edits=[...])"
            )
        if by_hand.given:
            raise SteeringError("pass either a list of SiteEdits, or sae, layer and edits; not both")
        if bare:
            raise GateError("with a list of SiteEdits, say where the gate reads: SiteGate(Site(3), sae, gate)")
        return Request(list(sites), gates)
    if (by_hand.layer is None) == (by_hand.site is None) or by_hand.edits is None:
        raise SteeringError('steer() needs a recipe ("no-false-speech"), or by hand: sae=..., layer=4, edits=[...]')
    sae = by_hand.sae
    site = Site(by_hand.layer or 0, by_hand.side) if by_hand.site is None else by_hand.site
    if bare and sae is None:
        raise GateError("a gate reads SAE features: pass sae=")
    placed = [SiteGate(site, sae, each) if isinstance(each, (ClipGate, FrameGate)) and sae else each for each in gates]
    return Request([SiteEdits(site, sae, by_hand.edits, by_hand.error)], placed)
