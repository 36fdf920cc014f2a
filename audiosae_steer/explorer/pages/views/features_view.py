"""View of all features: search by words, classes, density and clip; sorted and paged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
from starlette.responses import HTMLResponse
from starlette.routing import Route

from ....evaluate.page_parts.drawn_parts import curve_svg
from ...index.index_rows import Example
from ...index.index_search import SORTS, Found, Labels, Query, search
from ..explorer_site import Site, View, decimal, nonce_of, site_of, whole_number
from ..shown_examples import clip_words

if TYPE_CHECKING:
    from starlette.requests import Request

LONGEST_WORDS = 200
"""Characters of what is searched for."""
ALL = "all"
"""In the place of a layer's number in an address: all layers."""
SORT_TITLES = {
    "best": "best match", "density": "density", "peak": "highest activation", "clips": "clips", "feature": "number",
    "label": "label",
}  # fmt: skip


class Row(NamedTuple):
    """A feature in the list."""

    layer: int
    feature: int
    label: str
    own: bool
    density: float
    peak: float
    clips: int
    example: Example | None
    svg: str
    reason: str


def features(request: Request) -> HTMLResponse:
    """The list, as the address's query asks for it."""
    site = site_of(request)
    return HTMLResponse(features_page(site, query_of(site, dict(request.query_params)), nonce=nonce_of(request)))


def query_of(site: Site, asked: dict[str, str]) -> Query:
    """Conditions of an address's query; what is none of them is left out."""
    layer = whole_number(asked.get("layer"))
    if layer is None or not site.has_layer(layer):
        layer = None if asked.get("layer") == ALL and site.joined else site.layers[0].layer
    classes, sort = site.index.classes, asked.get("sort", "best")
    on, off = asked.get("on", ""), asked.get("off", "")
    return Query(
        layer,
        words=asked.get("words", "")[:LONGEST_WORDS],
        on=on if on in classes else "",
        off=off if off in classes else "",
        clip=whole_number(asked.get("clip")),
        least=decimal(asked.get("least"), 0.0) / 100,
        most=decimal(asked.get("most"), 100.0) / 100,
        alive=asked.get("silent") != "1",
        sort=sort if sort in SORTS else "best",
        reverse=asked.get("reverse") == "1",
        page=whole_number(asked.get("page"), 1) or 1,
    )


def features_page(site: Site, query: Query, *, path: str = "index.html", nonce: str = "") -> str:
    """The list as HTML."""
    own = site.notes.all_labels()
    found = search(site.index, query, own)
    place = "all layers" if query.layer is None else f"layer {query.layer}"
    return site.page(
        path, "features.html", nonce=nonce, title=f"Features of {place}", place=place,
        layer=site.layers[0].layer if query.layer is None else query.layer,
        query=query, found=found, rows=rows_of(site, query.layer, found, own), sorts=SORT_TITLES,
        asked=bool(query.words or query.on or query.off or query.clip is not None),
        clip=site.index.clip(query.clip) if query.clip is not None else None,
        address=lambda **changes: address_of(query, **changes), listed=listed(site, query.layer) if site.static else [],
    )  # fmt: skip


def rows_of(site: Site, layer: int | None, found: Found, own: Labels) -> list[Row]:
    """Features of a page of results, each with its strongest clip."""
    table, rows = site.index.features(layer), []
    for row, layer, feature, reason in zip(found.rows, found.layers, found.features, found.reasons, strict=True):
        examples = site.index.examples(layer, feature, ("top",), 1)
        peak, label = float(table.peak[row]), own.get((layer, feature), "")
        rows.append(
            Row(
                layer, feature, label or table.label(row), bool(label), float(table.density[row]), peak,
                int(table.clips[row]), examples[0] if examples else None,
                curve_svg(examples[0].curve, peak) if examples else "", reason,
            )
        )  # fmt: skip
    return rows


def address_of(query: Query, **changes: Any) -> str:
    """The address's query that asks for the same with some changes; as short as can be."""
    query = query._replace(**changes)
    values: dict[str, Any] = {
        "layer": ALL if query.layer is None else query.layer, "words": query.words, "on": query.on, "off": query.off,
        "clip": "" if query.clip is None else query.clip,
        "least": f"{100 * query.least:g}" if query.least > 0 else "",
        "most": f"{100 * query.most:g}" if query.most < 1 else "", "silent": "" if query.alive else 1,
        "sort": "" if query.sort == "best" else query.sort, "reverse": 1 if query.reverse else "",
        "page": "" if query.page == 1 else query.page,
    }  # fmt: skip
    return "?" + urlencode({name: value for name, value in values.items() if value != ""})


def listed(site: Site, layer: int | None) -> list[list[Any]]:
    """All features of a layer, or of all, that fire, for a page that searches by itself.

    Each is [layer, number, label, density, peak, clips, clip, clip's name, clip's words].
    """
    table = site.index.features(layer)
    rows: list[list[Any]] = []
    for row in np.flatnonzero(table.fired > 0).tolist():
        place = int(table.layer[row]), int(table.feature[row])
        best = site.index.examples(*place, ("top",), 1)
        clip = [best[0].clip.id, best[0].clip.name, clip_words(best[0].clip)] if best else [0, "", ""]
        numbers = round(float(table.density[row]), 6), round(float(table.peak[row]), 4), int(table.clips[row])
        rows.append([*place, table.label(row), *numbers, *clip])
    return rows


VIEW = View(
    "Features",
    lambda site, layer: f"features-{layer}.html" if site.static else f"index.html?layer={layer}",
    ("features", "feature"),
    [Route("/", features), Route("/index.html", features)],
)
