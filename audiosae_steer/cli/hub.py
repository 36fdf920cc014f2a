"""Commands that publish recipes on the Hub, and find them there: `publish` and `search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import progress, say, say_table


def publish(
    recipe: Annotated[str, typer.Argument(help="recipe by path, name or Hub id")],
    to: Annotated[str, typer.Option(help="where on the Hub: user/repo; it is made if need be")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write the folder, show it, and upload nothing")] = False,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="of a new repository; default: the account's setting")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="where to put it together; default: a temporary folder; --dry-run: ./REPO")
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", help="of the recipe and the SAEs beside it, as the Hub names it")
    ] = "mit",
    base_model: Annotated[
        str | None, typer.Option(help="the model's id on the Hub; default: what its name in the recipe tells")
    ] = None,
    message: Annotated[str | None, typer.Option(help="of the commit")] = None,
) -> None:
    """Put a recipe on the Hub, with its SAEs and a card. All is loaded and checked before anything is uploaded."""
    from ..publishing.publish import publish as put

    with progress() as tell:
        tell(f"checking {recipe}", 0, 1)
        done = put(
            recipe,
            to,
            dry_run=dry_run,
            private=private,
            folder=folder,
            licence=licence,
            base_model=base_model,
            message=message,
        )
        tell(f"checking {recipe}", 1, 1)
    say(to)
    names = list(done.files)
    for name in names:
        say(f"{'└──' if name == names[-1] else '├──'} {name.ljust(max(map(len, names)))}  {_size(done.files[name])}")
    if done.url is None:
        say(f"\n{done.card}")
        say(f"written to {done.folder}; nothing was uploaded", stderr=True)
        return
    say(f"{'made' if done.created else 'updated'} {done.url} at commit {done.commit}")
    say(f'use it: audiosae_steer.steer(model, "{to}"), or "{to}@{done.commit}" for this very one')


def search(
    words: Annotated[list[str] | None, typer.Argument(help="parts of the name")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="only for this one, such as tiny.en")] = None,
    limit: Annotated[int, typer.Option(min=1, help="of the Hub's at most")] = 100,
) -> None:
    """List the recipes and SAEs on the Hub that have the tag audiosae-steer, and those that ship with the package."""
    from ..publishing.search import search as find

    found = find(" ".join(words or ()), model=model, limit=limit)
    if found.offline is not None:
        say(f"the Hub was not asked: {found.offline}", stderr=True)
        say("what is in this machine's cache and in the package:", stderr=True)
    if not found.listed:
        say("nothing was found", stderr=True)
        return
    rows = []
    for each in found.listed:
        downloads = "" if each.downloads is None else f"{each.downloads:,}"
        rows.append((each.id, each.model, each.kind, downloads, each.updated, each.where))
    say_table(("id", "model", "kind", "downloads", "updated", "where"), rows)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
