"""The command `explore static`: pages of an index as files; `explore build --static` does the same at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import progress, say

app = typer.Typer()


@app.command()
def static(
    index: Annotated[str, typer.Argument(help="the index: its folder, its file, or hf://datasets/user/name")],
    folder: Annotated[Path, typer.Argument(help="folder for the files; a new one, or one that this wrote before")],
    layer: Annotated[
        list[int] | None, typer.Option(help="layer whose features get pages; repeatable; default: all")
    ] = None,
) -> None:
    """Write the pages as files, for any web server or to open from the disk; without notes and live steering."""
    from ..explorer.index.hub_index import index_at

    with progress() as tell:
        path = index_at(index, progress=tell)
    write_pages(path, folder, layer)


def write_pages(index: Path, folder: Path, layers: list[int] | None = None) -> None:
    """Write the pages of an index, and say what was written and how to look at it."""
    from ..explorer.index.index_reader import Index
    from ..explorer.pages.explorer_app import explorer_site
    from ..explorer.pages.static_site import write_static

    with progress() as tell:
        done = write_static(explorer_site(Index(index)), folder, layers or None, tell)
    left = f"; {done.kept_back} sounds kept back, which are not marked as redistributable" if done.kept_back else ""
    say(f"{folder}: {done.pages} pages, {done.sounds} sounds{left}")
    say(f"open {folder / 'index.html'} in a browser, or serve the folder by any web server")
