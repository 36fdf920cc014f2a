"""Command `analyse erasure`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...analyse.concept_erasure.erasure_records import ErasureSettings
from ...errors import SteeringError
from ..console import progress, say
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site


@dataclass(frozen=True, kw_only=True)
class Steered:
    """Recipe to write."""

    recipe: Path | None = None
    """Recipe to write, .json, that ablates the features; the SAE comes beside it."""
    features: int | None = None
    """Number of best features that the recipe ablates; default: as many as erase the concept."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data"),
    Options(
        defaults=ErasureSettings(),
        commas=("controls",),
        help={"controls": "controls, with commas", "ks": "number of features to remove; repeatable"},
        names={"ks": "k", "penalties": "penalty", "concepts": "other"},
    ),
    Options(defaults=Steered(), parameter="steered"),
    Options(defaults=Written(), parameter="written"),
)
def erasure(
    sae: SAEOption,
    concept: Annotated[str, typer.Option(help="label to erase")],
    place: Place,
    data: Data,
    settings: ErasureSettings,
    steered: Steered,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Remove the features that tell a concept best until it can no longer be told, and see what others lose by it."""
    from ...analyse.concept_erasure.concept_labels import roles_of
    from ...analyse.concept_erasure.erasing import erasure as remove
    from ...analyse.probes.probing import labelled_parts
    from ...models.load import load_model

    if steered.recipe is not None and steered.recipe.suffix != ".json":
        raise SteeringError(f"{steered.recipe.name} does not end in .json; give the recipe's file, such as recipe.json")
    clips = read_data(data)
    roles_of(clips.labels, concept, settings)
    labelled_parts(clips, settings.share, settings.seed)
    opened = read_sae(sae, place.layer)
    loaded = load_model(model)
    with progress() as tell:
        residuals = read_site(loaded, place.site, clips, data, tell)
        found = remove(opened, residuals, concept, settings=settings, progress=tell)
    finish(found, written, clips)
    if steered.recipe is not None:
        made = found.recipe(steered.features, loaded, sae, steered.recipe)
        count = len(made.sites[0].edits[0]["features"])
        say(f"wrote {steered.recipe}, which ablates {count} features: measure what the model does with it")
