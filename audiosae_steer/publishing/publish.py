"""Publication of a recipe on the Hub: the recipe, its SAEs and a card, in one commit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ..errors import AudioSAESteerError, RecipeError
from ..io.files import atomic_folder
from ..io.hub.read import sha256_of
from ..io.hub.write import check_name, upload
from ..io.paths import without_places
from ..io.tensors.sharded import index_of, is_index, is_shard
from ..sae.autoencoder import SAE
from ..sae.formats.native import Native, save_sae
from ..steering.recipes.load import load_recipe
from ..steering.recipes.sae_source import SAESpec
from ..steering.recipes.schema import Recipe
from .card import TAG
from .card import base_model as hub_id
from .recipe_card import recipe_card

RECIPE, CARD = "recipe.json", "README.md"


class Published(NamedTuple):
    """Content of a repository on the Hub, uploaded or, of a dry run, put together."""

    repo: str
    """"user/repo", by which `steer` takes it."""
    files: dict[str, int]
    """Size of each file in bytes, by name."""
    card: str
    """Text of the model card."""
    folder: Path | None
    """Folder of the files on this machine; None if they were made in a temporary folder, which is gone."""
    url: str | None
    """The repository's page; None of a dry run."""
    commit: str | None
    """The commit that holds it all; None of a dry run."""
    created: bool
    """True if the repository is new; False of a dry run."""


def publish(
    recipe: str | Path | Recipe,
    to: str,
    *,
    dry_run: bool = False,
    private: bool | None = None,
    folder: str | Path | None = None,
    licence: str = "mit",
    base_model: str | None = None,
    message: str | None = None,
) -> Published:
    """Put a recipe on the Hub, so that `steer(model, "user/repo")` takes it from there.

    Folders of this machine in it and in its SAEs are cut to their last part (`/home/me/noise` is `noise`). Its files go
    beside it as native safetensors files with their sha256; an SAE on the Hub stays where it is, pinned to
    the commit that was loaded. All of it is loaded and checked first, and uploaded in one commit: what cannot be
    published leaves the Hub as it was, but for a new repository, which may stay behind, empty.

    Args:
        recipe: a name, path, Hub id or object, as `load_recipe` takes it.
        to: "user/repo", which is made if need be; one that holds a recipe already gets the new one as its next commit.
        dry_run: put the folder together, and upload nothing.
        private: True for a new private repository; None leaves it to the account's setting.
        folder: folder to put together; None takes a temporary one, or, of a dry run, one with the repository's name in
            the working directory.
        licence: licence of the recipe and the SAEs beside it, as the Hub names it.
        base_model: the model's id on the Hub; None derives it from the model's name in the recipe.
        message: commit message.

    Raises:
        RecipeError, CheckpointError: the recipe or one of its SAEs does not load, or `folder` holds something else.
        HubError: there is no login or no right to write there, the name is taken, the card is refused, or the Hub
            cannot be reached.
    """
    check_name(to)
    loaded = load_recipe(recipe)
    saes = loaded.load_saes()
    place = Path(folder) if folder is not None else Path(to.split("/")[1]) if dry_run else None
    if place is not None:
        files, card = _put_together(loaded, saes, to, place, licence, base_model)
        if dry_run:
            return Published(to, files, card, place, None, None, False)
        return _upload(loaded, to, place, files, card, private, message)._replace(folder=place)
    with tempfile.TemporaryDirectory(prefix="audiosae-steer-") as temporary:
        files, card = _put_together(loaded, saes, to, Path(temporary) / "made", licence, base_model)
        return _upload(loaded, to, Path(temporary) / "made", files, card, private, message)


def _upload(
    recipe: Recipe,
    to: str,
    folder: Path,
    files: Mapping[str, int],
    card: str,
    private: bool | None,
    message: str | None,
) -> Published:
    text = message or f"{recipe.name} for {recipe.model.name}"
    done = upload(to, folder, list(files), private=private, mark=RECIPE, message=text)
    return Published(to, dict(files), card, None, done.url, done.commit, done.created)


def _put_together(
    recipe: Recipe, saes: Mapping[str, SAE], to: str, folder: Path, licence: str, base: str | None
) -> tuple[dict[str, int], str]:
    """Write `folder` atomically; returns the sizes of its files, and the card's text."""
    with atomic_folder(folder, lambda to: _check_free(to, recipe), RecipeError) as part:
        placed = {name: _placed(recipe, spec, saes[name], part) for name, spec in recipe.saes.items()}
        records = {name: without_places(getattr(recipe, name)) for name in ("provenance", "measured")}
        changed = recipe.model_copy(update={"saes": placed, **records})
        changed.save(part / RECIPE)
        card = recipe_card(changed, to, base=base or hub_id(recipe.model.name), licence=licence)
        (part / CARD).write_text(card, encoding="utf-8")
        load_recipe(part).load_saes()  # as whoever takes it from the Hub will
        files = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
    return files, card


def _placed(recipe: Recipe, spec: SAESpec, sae: SAE, folder: Path) -> SAESpec:
    """An SAE's entry in the published recipe, with its file in `folder`; one on the Hub is pinned instead."""
    if spec.repo is not None:
        source = sae.info["source"]
        return spec.model_copy(update={"revision": source["revision"], "sha256": source["sha256"]})
    path = Path(recipe.folder or ".") / str(spec.file)
    stem = path.name.removesuffix(".index.json").rpartition(".")[0]
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.safetensors" for number in count(1))
    target = next(folder / name for name in names if not (folder / name).exists())
    info = without_places(sae.info)
    if path.is_file() and Native().recognises(path) and not is_index(path) and info == sae.info:
        shutil.copyfile(path, target)
    else:
        save_sae(sae.altered(info=info), target)
    if not target.exists():  # it was large, and written in parts
        target = index_of(target)
    return SAESpec(file=target.name, layer=spec.layer, sha256=sha256_of(target))


def _check_free(folder: Path, recipe: Recipe) -> None:
    """Check that a folder may be written over: it does not exist, is empty, or holds an earlier call's files alone.

    Raises:
        RecipeError: it holds other files, or is the recipe's own folder.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise RecipeError(f"{folder} is there already, and is no folder; name a new folder")
    if folder.resolve() == Path.cwd() or (recipe.folder and folder.resolve() == recipe.folder.resolve()):
        which = "the folder of the recipe itself" if recipe.folder else "the folder that you are in"
        raise RecipeError(f"{folder} is {which}, which is left unchanged; name a new folder")
    held = sorted(path.name for path in folder.iterdir())
    if not held:
        return
    try:
        earlier = load_recipe(folder)
        made = f"library_name: {TAG}" in (folder / CARD).read_text(encoding="utf-8").split("\n---\n")[0]
    except (AudioSAESteerError, OSError, UnicodeDecodeError):
        made = False
    known = {RECIPE, CARD, *(str(spec.file) for spec in earlier.saes.values())} if made else set()
    foreign = [name for name in held if name not in known and not (made and is_shard(name))]
    if foreign:
        raise RecipeError(f"{folder} holds {foreign[0]}, which is no published recipe's; name a new folder")
