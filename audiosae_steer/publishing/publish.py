"""A recipe on the Hub: a folder with the recipe, its SAEs and a card, put there in one commit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import AudioSAESteerError, HubError, RecipeError
from ..io.files import whole_folder
from ..io.hub.read import sha256_of
from ..io.hub.write import check_name, upload
from ..io.paths import without_places
from ..io.tensors.sharded import index_of, is_index, is_shard
from ..sae.autoencoder import SAE
from ..sae.formats.native import Native, save_sae
from ..steering.recipes.load import load_recipe
from ..steering.recipes.sae_source import SAESpec
from ..steering.recipes.schema import Recipe

RECIPE, CARD = "recipe.json", "README.md"


class Published(NamedTuple):
    """What was, or would be, put on the Hub."""

    repo: str
    """"user/repo", by which `steer` takes it."""
    files: dict[str, int]
    """Bytes of each file, by name."""
    card: str
    """The model card's text."""
    folder: Path | None
    """Where the files are on this machine; None if they were made in a temporary folder, which is gone."""
    url: str | None
    """The repository's page; None of a dry run."""
    commit: str | None
    """The commit that holds it all; None of a dry run."""
    created: bool
    """Whether the repository is new; False of a dry run."""


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

    What it and its SAEs say of folders on this machine is left out but for the last part (`/home/me/noise` is `noise`).
    Its files go beside it as native safetensors files with their sha256; an SAE on the Hub stays where it is, pinned to
    the commit that was loaded. All of it is loaded and checked first, and uploaded in one commit: what cannot be
    published leaves the Hub as it was, but for a new repository, which may stay behind, empty.

    Args:
        recipe: a name, path, Hub id or object, as `load_recipe` takes it.
        to: "user/repo", which is made if need be; one that holds a recipe already gets the new one as its next commit.
        dry_run: put the folder together, and upload nothing.
        private: whether a new repository is private; None leaves it to the account's setting.
        folder: where to put it together; None takes a temporary folder, or, of a dry run, one called like the
            repository, in the working directory.
        licence: of the recipe and the SAEs beside it, as the Hub names it.
        base_model: the model's id on the Hub; None where its name in the recipe tells.
        message: of the commit.

    Raises:
        RecipeError, CheckpointError: the recipe or one of its SAEs does not load, or `folder` holds something else.
        HubError: nobody is logged in or may write there, the name is taken, the card is refused, or the Hub cannot be
            reached.
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
    told = message or f"{recipe.name} for {recipe.model.name}"
    done = upload(to, folder, list(files), private=private, mark=RECIPE, message=told)
    return Published(to, dict(files), card, None, done.url, done.commit, done.created)


def _put_together(
    recipe: Recipe, saes: Mapping[str, SAE], to: str, folder: Path, licence: str, base: str | None
) -> tuple[dict[str, int], str]:
    """Sizes of the files now in `folder`, and the card's text. The folder is there whole, or as it was."""
    from .card import base_model
    from .recipe_card import recipe_card

    with whole_folder(folder, lambda to: _check_free(to, recipe), RecipeError) as part:
        placed = {name: _placed(recipe, spec, saes[name], part) for name, spec in recipe.saes.items()}
        told = {name: without_places(getattr(recipe, name)) for name in ("provenance", "measured")}
        changed = recipe.model_copy(update={"saes": placed, **told})
        changed.save(part / RECIPE)
        card = recipe_card(changed, to, base=base or base_model(recipe.model.name), licence=licence)
        _check_card(card)
        (part / CARD).write_text(card, encoding="utf-8")
        load_recipe(part).load_saes()  # as those who take it from the Hub will
        files = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
    return files, card


def _placed(recipe: Recipe, spec: SAESpec, sae: SAE, folder: Path) -> SAESpec:
    """How the published recipe names an SAE, with its file in `folder` if it is one."""
    if spec.repo is not None:
        source = sae.info["source"]
        return spec.model_copy(update={"revision": source["revision"], "sha256": source["sha256"]})
    path = Path(recipe.folder or ".") / str(spec.file)
    stem = path.name.removesuffix(".index.json").rpartition(".")[0]
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.safetensors" for number in count(1))
    target = next(folder / name for name in names if not (folder / name).exists())
    told = without_places(sae.info)
    if path.is_file() and Native().recognises(path) and not is_index(path) and told == sae.info:
        shutil.copyfile(path, target)
    else:
        save_sae(sae.altered(info=told), target)
    if not target.exists():  # it was large, and written in parts
        target = index_of(target)
    return SAESpec(file=target.name, layer=spec.layer, sha256=sha256_of(target))


def _check_free(folder: Path, recipe: Recipe) -> None:
    """Whether a folder may be written over: it is not there, is empty, or holds what an earlier call put there.

    Raises:
        RecipeError: it may not.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise RecipeError(f"{folder} is there already, and is no folder; name a new folder")
    if folder.resolve() == Path.cwd() or (recipe.folder and folder.resolve() == recipe.folder.resolve()):
        what = "the folder of the recipe itself" if recipe.folder else "the folder that you are in"
        raise RecipeError(f"{folder} is {what}, which stays as it is; name a new folder")
    held = sorted(path.name for path in folder.iterdir())
    if not held:
        return
    try:
        earlier = load_recipe(folder)
        made = "library_name: audiosae-steer" in (folder / CARD).read_text(encoding="utf-8").split("\n---\n")[0]
    except (AudioSAESteerError, OSError, UnicodeDecodeError):
        made = False
    known = {RECIPE, CARD, *(str(spec.file) for spec in earlier.saes.values())} if made else set()
    foreign = [name for name in held if name not in known and not (made and is_shard(name))]
    if foreign:
        raise RecipeError(f"{folder} holds {foreign[0]}, which is no published recipe's; name a new folder")


def _check_card(card: str) -> None:
    """Whether the Hub's own client reads the front matter back."""
    from huggingface_hub import ModelCard

    try:
        read: Any = ModelCard(card)
        data = read.data.to_dict()
    except Exception as error:  # of YAML, or of the client
        raise HubError(f"the card's front matter would not be read: {error}; see the recipe's names") from error
    if not data.get("tags"):
        raise HubError("the card's front matter came out empty; see the recipe's names")
