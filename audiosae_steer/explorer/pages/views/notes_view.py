"""Notes: the list, export and import, and what the feature page sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ....errors import AudioSAESteerError
from ..explorer_site import Site, View, nonce_of, site_of
from ..notes_file import MOST_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request


def notes(request: Request) -> HTMLResponse:
    """The list of all notes."""
    return HTMLResponse(notes_page(site_of(request), nonce=nonce_of(request)))


def notes_page(site: Site, *, nonce: str = "") -> str:
    """The page as HTML."""
    rows = [(layer, feature, note) for (layer, feature), note in site.notes.all().items()]
    return site.page("notes.html", "notes.html", nonce=nonce, title="Notes", layer=site.layers[0].layer, rows=rows)


def export(request: Request) -> Response:
    """All notes as a JSON file."""
    site = site_of(request)
    headers = {"content-disposition": 'attachment; filename="explorer.notes.json"'}
    return Response(site.notes.exported(), media_type="application/json", headers=headers)


async def take(request: Request) -> JSONResponse:
    """Add the notes of an exported file, which is the body."""
    try:
        taken = site_of(request).notes.take(await request.body())
    except AudioSAESteerError as error:
        raise HTTPException(400, str(error)) from error
    return JSONResponse({"taken": taken.taken, "foreign": taken.foreign})


async def put(request: Request) -> Response:
    """Note a label and a text on a feature, as a form sends them."""
    site, layer, feature = site_of(request), request.path_params["layer"], request.path_params["feature"]
    if not site.has_layer(layer) or site.index.feature(layer, feature) is None:
        raise HTTPException(404, "there is no feature of that number in that layer")
    try:
        fields = parse_qs((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=8)
        label, text = (fields.get(name, [""])[0].replace("\r\n", "\n").strip() for name in ("label", "note"))
        note = site.notes.of(layer, feature)._replace(label=" ".join(label.split()), text=text)
        site.notes.put(layer, feature, note)
    except (ValueError, AudioSAESteerError) as error:
        raise HTTPException(400, str(error)) from error
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"label": note.label, "note": note.text})
    return RedirectResponse(f"../../feature/{layer}/{feature}.html", 303)


async def rate(request: Request) -> JSONResponse:
    """Rate a clip of a feature: `{"clip": number, "rating": 1 to 5 or null}`."""
    site, layer, feature = site_of(request), request.path_params["layer"], request.path_params["feature"]
    try:
        asked = json.loads(await request.body())
        number, rating = asked["clip"], asked["rating"]
        clip = site.index.clip(number) if type(number) is int else None
        known = site.has_layer(layer) and site.index.feature(layer, feature) is not None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise HTTPException(400, 'a rating is {"clip": number, "rating": 1 to 5 or null}') from error
    if clip is None or not known:
        raise HTTPException(404, "there is no such clip or feature")
    try:
        note = site.notes.rate(layer, feature, clip, rating)
    except AudioSAESteerError as error:
        raise HTTPException(400, str(error)) from error
    return JSONResponse({"clip": number, "rating": rating, "rated": len(note.ratings)})


VIEW = View(
    "Notes",
    lambda site, layer: "notes.html",
    ("notes",),
    [
        Route("/notes.html", notes),
        Route("/notes.json", export),
        Route("/notes/import", take, methods=["POST"]),
        Route("/notes/{layer:int}/{feature:int}", put, methods=["POST"]),
        Route("/notes/{layer:int}/{feature:int}/rating", rate, methods=["POST"]),
    ],
    live=True,
    limits={"/notes/import": MOST_BYTES},
)
