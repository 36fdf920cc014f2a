"""Map of a layer's features: like features lie near each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from ..explorer_site import Site, View, nonce_of, site_of

if TYPE_CHECKING:
    from starlette.requests import Request


def feature_map(request: Request) -> HTMLResponse:
    """The map's page."""
    site, layer = site_of(request), request.path_params["layer"]
    _check(site, layer)
    return HTMLResponse(map_page(site, layer, nonce=nonce_of(request)))


def places(request: Request) -> JSONResponse:
    """Places of the features, as JSON."""
    site, layer = site_of(request), request.path_params["layer"]
    _check(site, layer)
    return JSONResponse(map_places(site, layer))


def map_page(site: Site, layer: int, *, nonce: str = "") -> str:
    """The page as HTML."""
    placed = int(np.isfinite(site.index.table(layer).x).sum())
    return site.page(
        f"map/{layer}.html", "map.html", nonce=nonce, title=f"Map of layer {layer}", layer=layer, placed=placed,
        common=common_labels(site, layer), places=map_places(site, layer) if site.static else {},
    )  # fmt: skip


def map_places(site: Site, layer: int) -> dict[str, list[Any]]:
    """Number, place, density and label of each feature that has a place, in columns."""
    table, frames = site.index.table(layer), max(site.index.layers[layer].frames, 1)
    own = site.notes.labels(layer)
    on = np.flatnonzero(np.isfinite(table.x) & np.isfinite(table.y))
    numbers = table.feature[on].tolist()
    return {
        "feature": numbers,
        "x": np.round(table.x[on], 4).tolist(),
        "y": np.round(table.y[on], 4).tolist(),
        "density": np.round(table.fired[on] / frames, 6).tolist(),
        "label": [own.get(number) or table.label[row] for number, row in zip(numbers, on.tolist(), strict=True)],
    }


def common_labels(site: Site, layer: int, most: int = 12) -> list[tuple[str, int]]:
    """Labels that most features of the layer bear, with their numbers."""
    counts: dict[str, int] = {}
    for label in site.index.table(layer).label:
        if label:
            counts[label] = counts.get(label, 0) + 1
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:most]


def _check(site: Site, layer: int) -> None:
    if not site.has_layer(layer):
        raise HTTPException(404, "there is no such layer in this index")


VIEW = View(
    "Map",
    lambda site, layer: f"map/{layer}.html",
    ("map",),
    [Route("/map/{layer:int}.html", feature_map), Route("/map/{layer:int}.json", places)],
)
