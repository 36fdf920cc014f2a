"""Search for recipes and SAEs: on the Hub, in this machine's cache, and in this package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import AudioSAESteerError, CheckpointError, HubError
from ..io.hub.read import cached_repositories
from ..io.hub.write import entries
from ..sae.formats.layers import layers_of
from ..sae.formats.registry import FORMATS
from ..steering.recipes.load import load_recipe, shipped
from .card import TAG, base_model

Where = Literal["Hub", "cache", "package"]
MOST = 100
"""Most entries of the Hub to list."""


class Listed(NamedTuple):
    """A recipe or an SAE."""

    id: str
    """Name for `steer` or `load_sae`."""
    model: str
    """Model it is for; empty if unknown."""
    kind: Literal["recipe", "SAE"]
    downloads: int | None
    """Downloads from the Hub in the last 30 days; None if the Hub was not asked."""
    updated: str
    """Day of the last commit; empty if unknown."""
    where: Where
    """Place: the Hub, this machine's cache, or this package."""


class Found(NamedTuple):
    """Result of a search."""

    listed: list[Listed]
    """Recipes and SAEs: those on the Hub by falling downloads, then the others."""
    offline: str | None
    """Reason why the Hub could not be asked; None if it was."""


def search(words: str = "", *, model: str | None = None, limit: int = MOST) -> Found:
    """List recipes and SAEs: those on the Hub with the tag `audiosae-steer`, and those that ship with the package.

    If the Hub cannot be reached, those in this machine's cache take the place of the Hub's.

    Args:
        words: words that the id has to contain, all of them; of shipped recipes, id or description.
        model: model that they are for, by openai-whisper's name or the Hub's id.
        limit: most entries of the Hub.
    """
    listed: list[Listed] = []
    offline = None
    try:
        listed += _on_the_hub(words, model, limit)
    except HubError as error:
        offline = str(error)
        listed += [each for each in _in_the_cache() if _fits(each, each.id, words, model)]
    for recipe in shipped():
        each = Listed(recipe.name, recipe.model.name, "recipe", None, "", "package")
        if _fits(each, f"{recipe.name} {recipe.description}", words, model):
            listed.append(each)
    return Found(listed, offline)


def _on_the_hub(words: str, model: str | None, limit: int) -> Iterator[Listed]:
    asked = words.split()
    # the Hub looks for one piece of a name; further ones are looked for in what it finds
    for entry in entries([TAG, *([] if model is None else [_tag(model)])], asked[0] if asked else "", limit):
        if all(word.lower() in entry.repo.lower() for word in asked):
            base = [tag.split(":")[-1] for tag in entry.tags if tag.startswith("base_model:")]
            kind: Literal["recipe", "SAE"] = "recipe" if "recipe" in entry.tags else "SAE"
            yield Listed(entry.repo, base[0] if base else "", kind, entry.downloads, entry.updated, "Hub")


def _tag(model: str) -> str:
    """Tag that the Hub gives to everything made for a model."""
    base = _base(model)
    return f"base_model:{base}" if "/" in base else base


def _base(model: str) -> str:
    return base_model(model) or model


def _in_the_cache() -> Iterator[Listed]:
    for repo, folder in cached_repositories().items():
        try:
            if (folder / "recipe.json").is_file():
                yield Listed(repo, load_recipe(folder).model.name, "recipe", None, "", "cache")
            elif _is_sae(folder):
                yield Listed(repo, "", "SAE", None, "", "cache")
        except AudioSAESteerError:
            continue  # another program's file of the same name


def _is_sae(folder: Path) -> bool:
    try:
        names = [path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("layer_*/*"))]
        places = [folder / files[0] for files in layers_of(names).values()]
        known = [folder, *(place.parent if place.parent != folder else place for place in places)]
        return any(format_.recognises(place) for place in known for format_ in FORMATS)
    except (CheckpointError, OSError):
        return False


def _fits(each: Listed, text: str, words: str, model: str | None) -> bool:
    if not all(word.lower() in text.lower() for word in words.split()):
        return False
    return model is None or (bool(each.model) and _base(each.model) == _base(model))
