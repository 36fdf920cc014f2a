"""Recipes made by hand: edits that were judged by ear and eye, as a file that `load_recipe` reads."""

from __future__ import annotations

import io
import re
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ...errors import EditError, RecipeError
from ...models.sites import Site
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import ModelSpec, Recipe, SiteSpec
from ...steering.site_edits import SiteEdits, SiteGate
from .live_model import LiveModel
from .steering_request import FeatureWish, JudgedClip, SteeringRequest

CALIBRATED = "Made by hand in the explorer, and not calibrated: nothing is known of it beyond the clips listed here."


class SavedRecipe(NamedTuple):
    """A recipe, ready to be downloaded."""

    recipe: Recipe
    json: bytes
    bundle: bytes | None
    """ZIP of the recipe and the SAEs' files beside it; None where all its SAEs are on the Hub."""
    needs: tuple[str, ...]
    """Files that have to lie beside the JSON for it to work."""


def hand_recipe(
    live: LiveModel, request: SteeringRequest, name: str, description: str = "", judged: Sequence[JudgedClip] = ()
) -> Recipe:
    """The recipe of a request's own edits; the recipes that were tried with them are noted, and not part of it.

    Args:
        live: the model that it is for.
        request: edits, their strength, and the recipe whose gates they take.
        name: of the recipe: letters, digits, dots, dashes and underscores.
        description: a few words on what it does.
        judged: clips that it was judged on.

    Raises:
        EditError: there is no edit, or one names a feature that its SAE lacks.
        RecipeError: the name cannot be, or the SAE or the site is none that a recipe can name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise RecipeError(f"{name!r} is no name for a recipe; take up to 80 letters, digits, dots, dashes, underscores")
    if not request.edits:
        raise EditError("there is no edit of a feature to save: add one first")
    gates, saes = _gates(live, request.gate_of)
    sites = []
    for layer, wishes in _by_layer(request.edits).items():
        _check_range(live, layer, wishes)
        key, source = f"layer {layer}", live.source(layer)
        saes[key] = source if source.file is None else source.model_copy(update={"file": _file_name(live, layer)})
        site = live.site(layer)
        edits = [dict(each.spec) for each in wishes]
        sites.append(SiteSpec(layer=site.layer, side=site.side, sae=key, edits=edits))
    try:
        return Recipe(
            name=name,
            description=" ".join(description.split())[:1000] or CALIBRATED,
            model=ModelSpec.of(live.model(), live.name),
            saes=saes,
            sites=sites,
            allow_empty=request.allow_empty,
            strength=request.strength,
            provenance=_provenance(live, request, name, judged),
            **gates,
        )
    except ValidationError as error:
        raise RecipeError(f"these edits make no recipe: {error.errors()[0]['msg']}") from error


def steering_parts(
    live: LiveModel, recipe: Recipe, layers: Mapping[str, int]
) -> tuple[list[SiteEdits], list[SiteGate]]:
    """Edits and gates of a recipe of `hand_recipe`, with the SAEs that are loaded already.

    Args:
        live: the model.
        recipe: the recipe.
        layers: layer of the index of each of its SAEs, by the SAE's name in the recipe.
    """
    saes = {key: live.sae(layer) for key, layer in layers.items()}
    parts = [
        SiteEdits(Site(spec.layer, spec.side), saes[str(spec.sae)], spec.build(), error=spec.error, steps=spec.steps)
        for spec in recipe.sites
    ]
    return parts, [SiteGate(Site(gate.layer, gate.side), saes[gate.sae], gate.build()) for gate in recipe.gates]


def saved(live: LiveModel, recipe: Recipe, folder: Path) -> SavedRecipe:
    """The recipe's files.

    Args:
        live: the model.
        recipe: of `hand_recipe`.
        folder: an empty folder to write in.

    Raises:
        RecipeError: it cannot be written.
    """
    path = folder / "recipe.json"
    recipe.save(path)
    text = path.read_bytes()
    files = {str(spec.file): live.sae_file(layer_of(key)) for key, spec in recipe.saes.items() if spec.file is not None}
    if not files:
        return SavedRecipe(recipe, text, None, ())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # weights do not get smaller
        archive.writestr(f"{recipe.name}/recipe.json", text)
        for name, source in files.items():
            archive.write(source, f"{recipe.name}/{name}")
    return SavedRecipe(recipe, text, out.getvalue(), tuple(files))


def layer_of(key: str) -> int:
    """Layer of the index, of an SAE's name in a recipe of `hand_recipe`."""
    return int(key.removeprefix("layer "))


def calibration_command(name: str, model: str, gated: bool) -> str:
    """The command that measures the recipe's strength within a budget on speech."""
    gates = "" if gated else " --gates none"
    return (
        f"audiosae-steer calibrate {shlex.quote(f'{name}/recipe.json')} --model {shlex.quote(model)} "
        f'--absent WITHOUT --present WITH --kind "as written" --share 1{gates} --out {shlex.quote(f"{name}.json")}'
    )


def _by_layer(wishes: Sequence[FeatureWish]) -> dict[int, list[FeatureWish]]:
    found: dict[int, list[FeatureWish]] = {}
    for each in wishes:
        found.setdefault(each.layer, []).append(each)
    return dict(sorted(found.items()))


def _check_range(live: LiveModel, layer: int, wishes: Sequence[FeatureWish]) -> None:
    features = live.layer(layer).features
    for each in wishes:
        if each.spec["features"][0] >= features:
            raise EditError(
                f"feature {each.spec['features'][0]} is out of range: layer {layer} has {features}, counted from 0"
            )


def _file_name(live: LiveModel, layer: int) -> str:
    site, path = live.site(layer), live.sae_file(layer)
    return f"{site.side}-{site.layer}{path.suffix}"


def _gates(live: LiveModel, name: str | None) -> tuple[dict[str, Any], dict[str, SAESpec]]:
    """Gates of a shipped recipe, over the index's SAEs, by their fields in a recipe; and those SAEs.

    Raises:
        RecipeError: the recipe has no gate of edits, or its gate reads an SAE that is not in the index.
    """
    if name is None:
        return {}, {}
    recipe = live.recipe(name)
    found: dict[str, Any] = {}
    saes: dict[str, SAESpec] = {}
    for field in ("gate", "frame_gate"):
        gate = getattr(recipe, field)
        if gate is None:
            continue
        layer = _layer_with(live, Site(gate.layer, gate.side), recipe.saes[gate.sae])
        key, source = f"layer {layer}", live.source(layer)
        saes[key] = source if source.file is None else source.model_copy(update={"file": _file_name(live, layer)})
        found[field] = gate.model_copy(update={"sae": key})
    if not found:
        raise RecipeError(f"recipe {name!r} has no gate that edits could take")
    return found, saes


def _layer_with(live: LiveModel, site: Site, spec: SAESpec) -> int:
    for number in live.numbers:
        if live.site(number) == site and live.source(number).sha256 == spec.sha256:
            return number
    raise RecipeError(f"the gate reads {site} by an SAE that is not in this index; take no gate, or another index")


def _provenance(live: LiveModel, request: SteeringRequest, name: str, judged: Sequence[JudgedClip]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "made": "by hand, in audiosae-steer explore",
        "calibration": "none: strength and edits were chosen by hand",
        "judged_on": [{"clip": each.name, "rating": each.rating or None} for each in judged],
    }
    if request.recipes:
        found["tried_together_with"] = [{"recipe": r.name, "strength": r.strength} for r in request.recipes]
    if request.gate_of is not None:
        found["gates_from"] = request.gate_of
    if live.output == "text":
        found["to_calibrate"] = calibration_command(name, live.name, request.gate_of is not None)
    return found
