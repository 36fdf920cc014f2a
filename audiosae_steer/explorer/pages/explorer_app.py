"""Explorer's Starlette application over an index."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError
from ..index.index_reader import Index
from .explorer_site import Site, View, new_templates, nonce_of
from .notes_file import Notes
from .page_guard import Guard

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOCAL = frozenset({"localhost"})
"""Names of this machine; its loopback addresses belong to them."""
TITLES = {403: "Not allowed", 404: "Not found", 405: "Not allowed", 413: "Too large", 500: "Something is wrong"}


def explorer_views() -> tuple[View, ...]:
    """Views of every explorer, in the order of the navigation.

    Raises:
        MissingExtraError: Starlette is not installed.
    """
    try:
        from .views import clip_view, feature_view, features_view, map_view, media_view, notes_view, quiz_view
    except ImportError as error:
        raise MissingExtraError("the explorer needs Starlette; run: pip install 'audiosae-steer[explore]'") from error
    modules = (features_view, feature_view, map_view, clip_view, quiz_view, notes_view, media_view)
    return tuple(module.VIEW for module in modules)


def explorer_site(
    index: Index, *, notes: Notes | None = None, more: Sequence[View] = (), extra: Mapping[str, Any] | None = None
) -> Site:
    """Site of an index, which its pages share.

    Args:
        index: opened.
        notes: the user's; None: those beside the index.
        more: views beside the usual ones.
        extra: what these keep for themselves.
    """
    views = (*explorer_views(), *more)
    return Site(index, notes if notes is not None else Notes(index), views, new_templates(), extra=dict(extra or {}))


def explorer_app(site: Site, *, names: frozenset[str] = LOCAL, any_address: bool = False) -> Starlette:
    """The application.

    Args:
        site: of `explorer_site`.
        names: host names that it answers to, beside this machine's loopback addresses.
        any_address: answer to every IP address too, as a server that is not on loopback does.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware

    limits = {path: size for view in site.views for path, size in view.limits.items()}
    guard = Middleware(Guard, names=names, any_address=any_address, limits=limits)
    handlers: Any = {
        404: _refused, 403: _refused, 405: _refused, 400: _refused,
        sqlite3.Error: _broken, zlib.error: _broken, ValueError: _broken,
    }  # fmt: skip
    routes = [route for view in site.views for route in view.routes]
    app = Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)
    app.state.site = site
    return app


def _refused(request: Request, error: Any) -> Response:
    return _message(request, error.status_code, error.detail)


def _broken(request: Request, error: Exception) -> Response:
    name = Path(request.app.state.site.index.path).name
    return _message(request, 500, f"{name} could not be read here: it may be damaged, or of another version. ({error})")


def _message(request: Request, status: int, said: str) -> Response:
    from starlette.responses import HTMLResponse, JSONResponse

    if request.method not in ("GET", "HEAD") or "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"error": said}, status)
    site: Site = request.app.state.site
    title = TITLES.get(status, "Refused")
    # the address may be of any depth: the page's own links start at the top
    path = request.url.path.removeprefix("/")
    page = site.page(path, "message.html", nonce=nonce_of(request), title=title, layer=site.layers[0].layer, said=said)
    return HTMLResponse(page, status)
