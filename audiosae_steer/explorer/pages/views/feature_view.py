"""Page of one feature: clips by quantile, statistics, neighbours, classes, effects, and the user's notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Route

from ....evaluate.page_parts.drawn_parts import histogram_svg, number, percent
from ....evaluate.page_parts.sound_bytes import sound_ending
from ....evaluate.page_parts.text_change import text_change
from ...index.index_rows import Clip, Effect, Feature, bin_edges
from ..explorer_site import Site, View, decimal, nonce_of, site_of, whole_number
from ..notes_file import clip_key
from ..shown_examples import grouped, shown

if TYPE_CHECKING:
    from starlette.requests import Request

MOST = 100
"""Clips of each kind that a page shows at most."""
EDITS = {"ablated": "Ablated", "set": "Set to its highest activation"}


def feature(request: Request) -> HTMLResponse:
    """The page, with the clip and the cursor of the address's query."""
    site, at = site_of(request), request.query_params
    page = feature_page(
        site, request.path_params["layer"], request.path_params["feature"], nonce=nonce_of(request),
        clip=whole_number(at.get("clip")), cursor=decimal(at.get("at"), -1.0),
    )  # fmt: skip
    if page is None:
        raise HTTPException(404, "there is no feature of that number in that layer")
    return HTMLResponse(page)


def feature_page(
    site: Site, layer: int, feature: int, *, nonce: str = "", clip: int | None = None, cursor: float = -1.0
) -> str | None:
    """The page as HTML; None if there is no such feature.

    Args:
        site: whose index it is from.
        layer: number.
        feature: number.
        nonce: of the player's style.
        clip: which example is shown large; None: the strongest.
        cursor: seconds into it; negative: a little before its peak.
    """
    path = f"feature/{layer}/{feature}.html"
    values = feature_values(site, layer, feature, lambda clip, kind: clip_address(site, "../../", clip, kind))
    if values is None:
        return None
    examples = values["examples"]
    now = next((i for i, each in enumerate(examples) if clip is not None and each.clip.id == clip), 0)
    if examples and cursor >= 0:
        cursor = min(cursor, examples[now].seconds)
        examples[now] = examples[now]._replace(cursor=cursor)
    note = site.notes.of(layer, feature)
    ratings = {each.key: note.ratings[clip_key(each.clip)] for each in examples if clip_key(each.clip) in note.ratings}
    state = {"now": now, "ratings": ratings, "data": [each.data for each in examples]}
    return site.page(path, "feature.html", nonce=nonce, **values, note=note, now=now, state=state)


def feature_values(
    site: Site, layer: int, feature: int, address: Callable[[Clip, str], str], most: int = MOST
) -> dict[str, Any] | None:
    """Values for the template of a feature's page, or of its single file; None if there is none.

    Args:
        site: whose index it is from.
        layer: number.
        feature: number.
        address: of a clip's `mel` or `sound`.
        most: clips of each kind.
    """
    index = site.index
    found = index.feature(layer, feature) if site.has_layer(layer) else None
    if found is None:
        return None
    row = index.layers[layer]
    examples = [shown(each, row.rate, found.peak, address) for each in index.examples(layer, feature, most=most)]
    neighbours = index.neighbours(layer, feature)
    density = found.fired / max(row.frames, 1)
    enriched = index.enriched(layer, feature)
    return {
        "title": f"Feature {feature} of layer {layer}", "layer": layer, "row": row, "feature": found,
        "density": density, "examples": examples, "groups": grouped(examples),
        "histogram": histogram_svg(found.histogram, bin_edges(), histogram_words(found)),
        "spread": histogram_words(found), "enriched": enriched,
        "widest": max((max(each.high, 1 / max(each.low, 1e-3)) for each in enriched), default=2.0),
        "cosine": [each for each in neighbours if each.kind == "cosine"],
        "together": [each for each in neighbours if each.kind == "together"],
        "effects": told_effects(index.effects(layer, feature)), "own_labels": site.notes.labels(layer),
        "names": {each.clip.id: each.name for each in examples},
        "said": f"fires on {percent(density)} of frames and {found.clips} of {row.clips} clips, "
                f"at most {number(found.peak)}",
    }  # fmt: skip


def clip_address(site: Site, root: str, clip: Clip, kind: str) -> str:
    """Address of a clip's `mel` or `sound`; empty where its sound is not passed on, or is not there."""
    if kind == "mel":
        return f"{root}mel/{clip.id}.png"
    given = site.index.keeps_sound and (clip.redistributable or not site.static)
    return f"{root}{sound_path(clip)}" if given else ""


def sound_path(clip: Clip) -> str:
    """Path of a clip's sound below the pages' root."""
    return f"sound/{clip.id}.{sound_ending(clip.seconds)}"


def histogram_words(found: Feature) -> str:
    """Text alternative of the histogram: between which activations half of the frames lie."""
    counts, edges = found.histogram.astype(np.float64), bin_edges()
    if not counts.sum():
        return "It never fires."
    share = np.cumsum(counts) / counts.sum()
    low, high = (float(edges[int(np.searchsorted(share, part)) + side]) for part, side in ((0.25, 0), (0.75, 1)))
    return f"Half of the frames on which it fires lie between {number(low)} and {number(high)}."


def told_effects(effects: list[Effect]) -> list[dict[str, Any]]:
    """Effects by edit: the mean change of end-of-text, and each clip with its changed text."""
    told = []
    for edit in sorted({each.edit for each in effects}):
        rows = [each for each in effects if each.edit == edit]
        ends = [each.end for each in rows if each.end is not None]
        told.append({
            "title": EDITS.get(edit, edit), "clips": len(rows), "end": sum(ends) / len(ends) if ends else None,
            "rows": [(each, text_change(each.before, each.after)) for each in rows],
        })  # fmt: skip
    return told


VIEW = View("", lambda site, layer: "", (), [Route("/feature/{layer:int}/{feature:int}.html", feature)])
