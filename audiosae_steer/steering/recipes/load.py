"""Recipes by name, by path or from the Hub: JSON files of edits for one model, with how they were found."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import RecipeError, RecipeNotFoundError
from ...io import strict_json
from ...io.paths import local
from ...io.shipped import checkpoints_dir
from ...models.registry import family_of, unwrap
from ...models.sites import Dims
from .schema import Recipe

MAX_BYTES = 8_000_000
"""Of a recipe's JSON, whose largest part is vectors of some 20 characters a number: two of width 1280 at 100 sites."""
SUCCESSORS = {"benchmarks/make_no_false_speech.py": "audiosae-steer make no-false-speech"}
"""Commands of today, by scripts of earlier versions that recipes were made by."""


def succeeded(provenance: Mapping[str, Any]) -> str | None:
    """A note on the command in a recipe's provenance, where its script has been removed since; None where it has not.

    Recipes stay byte for byte as they were measured, and so name the script that made them.
    """
    command = str(provenance.get("command", ""))
    for old, new in SUCCESSORS.items():
        if old in command:
            return f"`{old}` is of an earlier version; its successor is `{new}`"
    return None


def shipped() -> Iterator[Recipe]:
    """Every recipe that ships with the package."""
    for path in sorted(checkpoints_dir().glob("*/*.json")):
        if path.name != "clips.json":
            yield _read(path)


def recipes(model: Any = None) -> list[Recipe]:
    """The shipped recipes that fit `model`, or all of them."""
    return [recipe for recipe in shipped() if model is None or recipe.misfit(model) is None]


def load_recipe(source: str | Path | Recipe, model: Any = None, *, revision: str | None = None) -> Recipe:
    """A recipe by path, by name, or from the Hub.

    Args:
        source: a path to a JSON file or a folder with `recipe.json`; the name of a shipped recipe; "user/repo" on the
            Hub; or "user/repo@revision".
        model: with a name, the model it has to fit. Without one the name must belong to a single model.
        revision: branch, tag or commit of a repository on the Hub.

    Raises:
        RecipeNotFoundError: there is no such recipe for this model; says which exist and how to make one.
        RecipeError: the file is not a recipe, or cannot be read.
    """
    if isinstance(source, Recipe):
        return source
    name = str(source)
    path = _file(source, model)
    if path is not None:
        return _read(path)
    if on_hub := _on_hub(name):
        if revision is not None and on_hub[2] not in (None, revision):
            raise RecipeError(f"{name} names one revision and revision={revision!r} another; name one")
        return _from_hub(on_hub[1], revision or on_hub[2])
    named = [recipe for recipe in shipped() if recipe.name == name]
    fitting = named if model is None else [recipe for recipe in named if recipe.misfit(model) is None]
    if len(fitting) == 1:
        return fitting[0]
    raise RecipeNotFoundError(_advice(name, model, fitting))


def check_recipe(source: str | Path | Recipe) -> None:
    """Refuse what cannot be a recipe of any model, without one; what is on the Hub is not asked for.

    Raises:
        RecipeNotFoundError: there is no such file, and no recipe of that name ships.
        RecipeError: the file is not a recipe, or cannot be read.
    """
    if isinstance(source, Recipe):
        return
    path = _file(source, None)
    if path is not None:
        _read(path)
    elif not _on_hub(str(source)) and all(recipe.name != str(source) for recipe in shipped()):
        raise RecipeNotFoundError(_advice(str(source), None, []))


def _on_hub(name: str) -> re.Match[str] | None:
    return re.fullmatch(r"([^/@\s]+/[^/@\s]+)(?:@(\S+))?", name)


def _file(source: str | Path, model: Any) -> Path | None:
    """The recipe's file, if `source` is a path; None for a name, or an id on the Hub.

    Raises:
        RecipeNotFoundError: it is empty, or a path at which there is no recipe.
        RecipeError: it cannot be read.
    """
    name = str(source)
    if isinstance(source, str) and not name.strip():
        raise RecipeNotFoundError(f"the recipe's name is empty; {_there_are(model)}")
    path = local(source, RecipeError)
    if path.is_dir():
        inside = local(path / "recipe.json", RecipeError)
        if inside.is_file():
            return inside
        if any(recipe.name == name for recipe in shipped()):  # a folder that happens to bear the name
            return None
        files = sorted(each.name for each in path.glob("*.json"))
        held = f"it holds {', '.join(files[:3])}: name the file" if files else "name a recipe's file, or its folder"
        raise RecipeNotFoundError(f"{source} is a folder without a recipe.json; {held}")
    if path.is_file():
        return path
    looks = name.startswith((".", "~", "/")) or "\\" in name or name.count("/") > 1
    if isinstance(source, Path) or name.endswith(".json") or looks:
        raise RecipeNotFoundError(f"there is no recipe file at {source}; check the path")
    return None


def _there_are(model: Any) -> str:
    """A clause on the recipes that ship for a model, or for any."""
    names = _names(model)
    if model is None:
        return f"there are: {', '.join(names)}"
    return f"for this model there are: {', '.join(names)}" if names else "none ships for this model"


def _names(model: Any) -> list[str]:
    """Names of the recipes that ship for a model, or for any."""
    return sorted({recipe.name for recipe in recipes(model)})


def _advice(name: str, model: Any, fitting: list[Recipe]) -> str:
    if len(fitting) > 1:
        paths = [f"  for {each.model.name}: {(each.folder or Path()) / f'{name}.json'}" for each in fitting]
        listed = "\n".join(paths)
        return f"several recipes are called {name!r}; pass its path, or the model that it is for:\n{listed}"
    known = [(recipe.name, recipe.model.name) for recipe in shipped()]
    making = (
        "To make one for yours, from clips with and without speech:\n"
        "  audiosae-steer make no-false-speech --model M --absent DIR --present DIR --out OUT\n"
        "Then pass its path, or a Hub id, in place of the name."
    )
    if all(name != own for own, _ in known):
        near = difflib.get_close_matches(name, _names(model), 1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        return f"there is no recipe {name!r}{meant}; {_there_are(model)}.\n{making}"
    inner = unwrap(model)
    dims = family_of(inner).dims(inner)
    sizes = ", ".join(f"{field} {value}" for field, value in zip(Dims._fields, dims, strict=True))
    listed = "\n".join(f"  {own} for {of}" for own, of in known) or "  (none)"
    return (
        f"no recipe {name!r} fits this {type(inner).__name__} ({sizes}). Recipes that ship with the package:\n"
        f"{listed}\nA recipe holds for one model only. {making}"
    )


def _from_hub(repo: str, revision: str | None) -> Recipe:
    from ...errors import HubError
    from ...io.hub.read import Listing, fetch
    from ...io.tensors.sharded import parts_of

    found = fetch(repo, ["recipe.json"], revision, limit=MAX_BYTES)
    recipe = _read(found.folder / "recipe.json")
    # of the rest only what it names: a repository may hold much else
    files = [spec.file for spec in recipe.saes.values() if spec.file is not None]

    def named(listed: Listing) -> list[str]:
        missing = [file for file in files if file not in listed.files]
        if missing:
            where = "it does not hold" if listed.online else "is not in this machine's cache; connect once to fetch it"
            raise HubError(f"the recipe of {repo} needs {missing[0]}, which {where}")
        return [*files, *(part for file in files for part in parts_of(file, listed.files))]

    if files:
        fetch(repo, named, found.commit)
    return recipe


def _read(path: Path) -> Recipe:
    if not path.is_file():
        raise RecipeNotFoundError(f"there is no recipe file at {path}; a recipe's folder holds recipe.json")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(
                f"{path} is larger than {MAX_BYTES / 1e6:.0f} MB, which no recipe is; is it the right file?"
            )
        content = path.read_bytes()
        recipe = Recipe.model_validate(strict_json.parse(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecipeError(f"{path} is not a recipe of schema 1: {where}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} is not a recipe: it does not hold valid JSON ({error})") from error
    return recipe.located(path.parent, hashlib.sha256(content).hexdigest())
