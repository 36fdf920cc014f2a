"""Site of one index: what all views share, and how a view becomes a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...evaluate.page_parts import drawn_parts
from ...evaluate.page_parts.single_page import PARTS
from ..index.index_reader import Index
from ..index.index_rows import Layer
from .notes_file import Notes

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request
    from starlette.routing import BaseRoute

PAGES = Path(__file__).parent
TEMPLATES, STATIC = PAGES / "templates", PAGES / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", "": "text/plain"}
"""Media types of the static files, by ending."""


@dataclass(frozen=True)
class Site:
    """An index with its notes, as one server or one set of static files shows it."""

    index: Index
    notes: Notes
    views: Sequence[View]
    templates: Environment
    static: bool = False
    """Files without a server: no notes, no search by the server, no steering."""
    chosen: frozenset[int] = frozenset()
    """Layers whose features have pages, where not all have."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Things that further views keep for themselves, such as a loaded model."""

    def page(self, path: str, template: str, *, nonce: str = "", **values: Any) -> str:
        """The page at `path` (without the first slash) that a template makes of values."""
        root = "../" * path.count("/") or "./"
        return self.templates.get_template(template).render(
            site=self, index=self.index, root=root, nonce=nonce, view=template.removesuffix(".html"), **values
        )

    def has_layer(self, layer: int) -> bool:
        """True if features of that layer have pages."""
        return layer in self.index.layers and (not self.chosen or layer in self.chosen)

    @property
    def joined(self) -> bool:
        """True if there are several layers, and all of them can be searched at once."""
        return len(self.layers) == len(self.index.layers) > 1

    @property
    def layers(self) -> list[Layer]:
        """Layers whose features have pages."""
        return [row for row in self.index.layers.values() if self.has_layer(row.layer)]


class View(NamedTuple):
    """A view: routes, an entry in the navigation, and the sizes of bodies that it takes.

    To add one: a module in `views/` with a `VIEW`, a template that extends `base.html`, an ES module in `static/` of
    the template's name, and the view in `VIEWS` of `explorer_app.py` or in that function's argument `more`.
    """

    title: str
    """In the navigation; empty: it has no entry there."""
    link: Callable[[Site, int], str]
    """Address of the entry, below the root, for the layer that is looked at."""
    templates: tuple[str, ...]
    """Its templates without their ending; the entry is marked as current on these."""
    routes: Sequence[BaseRoute]
    live: bool = False
    """True if it needs a server."""
    limits: Mapping[str, int] = {}
    """Bytes of a body, by the beginning of the path, where more than the usual are taken."""


def new_templates() -> Environment:
    """Templates of the pages and of the shared parts. What they print is escaped; a misspelt name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": drawn_parts.number, "percent": drawn_parts.percent}
    environment.globals |= {"share_svg": drawn_parts.share_svg, "interval_svg": drawn_parts.interval_svg}
    return environment


class StaticFiles:
    """Files of the pages, read once, so that no part of a request ever reaches the disk."""

    @cached_property
    def bodies(self) -> dict[str, bytes]:
        """Bytes by address below `static/`."""
        found = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in STATIC.rglob("*") if path.is_file()}
        shared = {f"parts/{path.name}": path.read_bytes() for path in PARTS.iterdir() if path.suffix in (".js", ".css")}
        return found | shared


STATIC_FILES = StaticFiles()


def site_of(request: Request) -> Site:
    """The site that a request is to."""
    site: Site = request.app.state.site
    return site


def nonce_of(request: Request) -> str:
    """The nonce of this request's styles."""
    return str(request.scope.get("state", {}).get("nonce", ""))


def whole_number(text: str | None, fallback: int | None = None) -> int | None:
    """A number of an address's query; the fallback where it is none."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return fallback
    return int(text)


def decimal(text: str | None, fallback: float) -> float:
    """A decimal number of an address's query; the fallback where it is none."""
    try:
        value = float(text) if text else fallback
    except ValueError:
        return fallback
    return value if abs(value) < 1e9 else fallback  # NaN is not below either
