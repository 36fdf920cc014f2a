"""The group `explore`: an index in the browser, one feature as a file, and pages without a server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import SteeringError
from . import explore_build, explore_static
from .console import progress, say

if TYPE_CHECKING:
    from ..explorer.pages.explorer_site import Site

IndexOption = Annotated[
    str | None, typer.Option("--index", help="index to take it from; default: the embedded one of tiny.en")
]


class Opening(TyperGroup):
    """Group whose command `open` is meant where none is named: `explore`, `explore INDEX`, `explore --port 80`."""

    default = "open"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Options and arguments of the words that were typed."""
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Opening,
    help="Look at features, listen to them, search and note, in a browser. Without a command it opens: `explore`, "
    "`explore INDEX`; its options are those of `explore open --help`.",
)


@app.command("open")
def open_index(
    index: Annotated[
        str | None,
        typer.Argument(help="index: its folder, file or hf:// place; default: tiny.en on the bundled clips"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="address to listen at; others than loopback let your network in")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="default: the first free one from 7341 on")] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="host name to answer to besides, as behind a proxy; repeatable")
    ] = None,
    notes: Annotated[Path | None, typer.Option(help="file of your notes; default: beside the index")] = None,
    saes: Annotated[
        list[Path] | None, typer.Option(help="folder with SAEs that are not beside the index; repeatable")
    ] = None,
) -> None:
    """Open an index in the browser, until Ctrl-C."""
    from ..explorer.pages.explorer_server import is_loopback, serve_site

    site = opened(index, notes, live=True, folders=saes or ())

    def ready(address: str) -> None:
        say(f"{site.index.path.name}: {address}   (Ctrl-C ends it)")
        if not is_loopback(host):
            say("everyone who reaches this address sees the index and may change the notes", stderr=True)
        if browser:
            import webbrowser

            webbrowser.open(address)

    with suppress(KeyboardInterrupt):
        serve_site(site, host=host, port=port, names=allow_host or (), ready=ready)
    say(f"ended; notes are in {site.notes.path}" if site.notes.all() else "ended")


@app.command()
def export(
    feature: Annotated[
        str, typer.Argument(help="LAYER/FEATURE, or the feature's number where the index has one layer")
    ],
    html: Annotated[Path, typer.Option("--html", help="the file to write")],
    index: IndexOption = None,
    clips: Annotated[int, typer.Option(min=1, max=20, help="of each kind at most")] = 4,
) -> None:
    """Write the page of a feature as one HTML file, with pictures and sounds inside."""
    from ..explorer.pages.static_site import write_single

    site = opened(index)
    layer, number = named_feature(feature, list(site.index.layers))
    done = write_single(site, layer, number, html, clips)
    left = f"; {done.kept_back} clips left out, which are not marked as redistributable" if done.kept_back else ""
    say(f"{html}: feature {number} of layer {layer}, {done.sounds} sounds inside{left}")


app.registered_commands += explore_static.app.registered_commands
app.registered_commands += explore_build.app.registered_commands


def opened(source: str | None, notes: Path | None = None, *, live: bool = False, folders: Sequence[Path] = ()) -> Site:
    """The site of an index; of the embedded default without one, which is made if it is not there.

    Args:
        source: the index.
        notes: file of the user's notes.
        live: with own clips and steering.
        folders: further folders in which SAEs may be, for the live part.

    Raises:
        SteeringError: one of the folders is not there.
    """
    from ..explorer.index.default_index import MODEL, build_default, index_cache
    from ..explorer.index.hub_index import index_at
    from ..explorer.index.index_reader import Index
    from ..explorer.pages.explorer_app import explorer_site
    from ..explorer.pages.live_site import live_site
    from ..explorer.pages.notes_file import Notes

    absent = [str(folder) for folder in folders if not folder.is_dir()]
    if absent:
        raise SteeringError(f"there is no folder {', '.join(absent)}; --saes names folders with files of SAEs")
    with progress() as tell:
        path = build_default(progress=tell) if source is None else index_at(source, progress=tell)
    if source is None and notes is None:  # the index moves when the package changes; notes stay
        notes = index_cache() / f"{MODEL}.notes.json"
    index = Index(path)
    own = Notes(index, notes)
    return live_site(index, notes=own, folders=folders) if live else explorer_site(index, notes=own)


def named_feature(text: str, layers: list[int]) -> tuple[int, int]:
    """Layer and feature of `LAYER/FEATURE` or `FEATURE`.

    Raises:
        SteeringError: it is neither, or the layer is not said and there are several.
    """
    layer, slash, number = text.rpartition("/")
    if not number.isdigit() or (slash and not layer.isdigit()):
        raise SteeringError(f"{text!r} names no feature; write LAYER/FEATURE, such as {layers[0]}/17")
    if not slash and len(layers) > 1:
        raise SteeringError(f"the index has layers {', '.join(map(str, layers))}; write {layers[-1]}/{number}")
    return (int(layer) if slash else layers[0]), int(number)
