"""Clips: the list, and for one of them the features that fire, ranked by surprise, with a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Route

from ....evaluate.page_parts.stage_clips import StageClip
from ...index.index_rows import Clip, Example
from ..explorer_site import Site, View, nonce_of, site_of, whole_number
from ..shown_examples import clip_words, shown
from .feature_view import clip_address

if TYPE_CHECKING:
    from starlette.requests import Request

TIMELINE = 12
"""Features of the timeline."""
LISTED = 60
"""Features of the table."""
CLIPS = 60
"""Clips of a page of the list."""


class Fired(NamedTuple):
    """A feature that fires on the clip."""

    feature: int
    label: str
    own: bool
    peak: float
    bits: float
    density: float
    shown: StageClip | None
    """Its curve on the clip, where the index keeps it."""


def clip(request: Request) -> HTMLResponse:
    """The page of a clip."""
    site, at = site_of(request), request.path_params
    page = clip_page(site, at["layer"], at["clip"], nonce=nonce_of(request))
    if page is None:
        raise HTTPException(404, "there is no clip of that number, or no such layer")
    return HTMLResponse(page)


def clips(request: Request) -> HTMLResponse:
    """The list of clips, a page of it, of those with some words if any are asked for."""
    site, asked = site_of(request), request.query_params
    layer = request.path_params["layer"]
    if not site.has_layer(layer):
        raise HTTPException(404, "there is no such layer in this index")
    words = asked.get("words", "")[:200]
    return HTMLResponse(
        clips_page(site, layer, words=words, page=whole_number(asked.get("page"), 1) or 1, nonce=nonce_of(request))
    )


def clip_page(site: Site, layer: int, number: int, *, nonce: str = "") -> str | None:
    """The page of a clip as HTML; None if there is no such clip or layer."""
    found = site.index.clip(number) if site.has_layer(layer) else None
    if found is None:
        return None
    path = f"clip/{layer}/{number}.html"
    fired = fired_on(site, layer, found, "../../")
    timeline = [each for each in fired[:TIMELINE] if each.shown is not None]
    silent = shown_clip(site, found, "../../")
    data = [each.shown.data for each in timeline if each.shown] or [silent.data]
    first = next((each.shown for each in timeline if each.shown), silent)
    return site.page(
        path, "clip.html", nonce=nonce, title=f"Clip {found.name}", layer=layer, row=site.index.layers[layer],
        clip=found, words=clip_words(found), fired=fired, timeline=fired[:TIMELINE], first=first,
        state={"data": data}, total=len(site.index.peaks(layer, number)[0]),
    )  # fmt: skip


def fired_on(site: Site, layer: int, clip: Clip, root: str) -> list[Fired]:
    """Features that fire on the clip, the most surprising first; the first of them with their curves."""
    index = site.index
    row, table, own = index.layers[layer], index.table(layer), site.notes.labels(layer)
    firing = index.fires_on(layer, clip.id)
    places = {int(number): i for i, number in enumerate(table.feature)}
    found = []
    for rank, feature in enumerate(firing.features[:LISTED].tolist()):
        place = places.get(feature)
        if place is None:
            continue
        label = own.get(feature) or table.label[place]
        example = index.example_on(layer, feature, clip.id) if rank < TIMELINE else None
        curve = None
        if example is not None and example.kind != "near":
            curve = shown(
                example, row.rate, float(table.peak[place]), lambda c, kind: clip_address(site, root, c, kind)
            )
            title = f"Feature {feature}" + (f" · {label}" if label else "")
            data = {**curve.data, "name": title, "key": str(feature), "top": round(float(table.peak[place]), 5)}
            curve = curve._replace(name=title, key=str(feature), data=data)
        found.append(
            Fired(
                feature, label, feature in own, float(firing.peaks[rank]), float(firing.surprise[rank]),
                int(table.fired[place]) / max(row.frames, 1), curve,
            )
        )  # fmt: skip
    return found


def shown_clip(site: Site, clip: Clip, root: str) -> StageClip:
    """A clip without any feature's curve, for the player."""
    bare = shown(
        Example("top", 0, clip, 0.0, 0.0, np.zeros(max(int(clip.seconds * 50), 1))), 50.0, 1.0,
        lambda c, kind: clip_address(site, root, c, kind),
    )  # fmt: skip
    said = "None of the curves of the features that fire here is kept."
    return bare._replace(said=said, data={**bare.data, "said": said})


def clips_page(site: Site, layer: int, *, words: str = "", page: int = 1, nonce: str = "") -> str:
    """The list of clips as HTML."""
    if words.strip():
        numbers = {*site.index.clips_saying(words, 500), *site.index.clips_named(words, 500)}
        alike = {each.id for each in site.index.clips() if words.casefold() in each.label.casefold()}
        found = [each for each in site.index.clips() if each.id in numbers | alike]
    else:
        found = site.index.clips()
    pages = 1 if site.static else max(-(-len(found) // CLIPS), 1)
    page = min(max(page, 1), pages)
    here = found if site.static else found[(page - 1) * CLIPS : page * CLIPS]
    return site.page(
        f"clips/{layer}.html", "clips.html", nonce=nonce, title="Clips", layer=layer, clips=here, words=words,
        total=len(found), page=page, pages=pages, clip_words=clip_words,
    )  # fmt: skip


VIEW = View(
    "Clips",
    lambda site, layer: f"clips/{layer}.html",
    ("clips", "clip"),
    [Route("/clips/{layer:int}.html", clips), Route("/clip/{layer:int}/{clip:int}.html", clip)],
)
