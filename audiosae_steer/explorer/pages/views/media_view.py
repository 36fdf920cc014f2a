"""Sounds and spectrograms of clips, by number, and the pages' own files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from ....evaluate.page_parts.sound_bytes import sound_type
from ..byte_ranges import ranged
from ..explorer_site import KINDS, STATIC_FILES, View, site_of

if TYPE_CHECKING:
    from starlette.requests import Request


def sound(request: Request) -> Response:
    """A clip's sound."""
    clip = request.path_params["clip"]
    body = site_of(request).index.sound(clip)
    if body is None:
        raise HTTPException(404, "this index keeps no sound of that clip")
    return ranged(request, body, sound_type(body), _tag(body))


def mel(request: Request) -> Response:
    """PNG of a clip's log-mel spectrogram, as the model sees it."""
    clip = request.path_params["clip"]
    body = site_of(request).index.mel(clip)
    if body is None:
        raise HTTPException(404, "there is no clip of that number")
    return ranged(request, body, "image/png", _tag(body))


def static_file(request: Request) -> Response:
    """A file of the pages."""
    name = request.path_params["name"]
    body = STATIC_FILES.bodies.get(name)
    if body is None:
        raise HTTPException(404, "there is no such file")
    kind = KINDS.get("." + name.rpartition(".")[2] if "." in name else "", "text/plain")
    return Response(body, media_type=kind, headers={"cache-control": "no-cache"})


def _tag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:20]


VIEW = View(
    "",
    lambda site, layer: "",
    (),
    [
        Route("/sound/{clip:int}.flac", sound),
        Route("/sound/{clip:int}.wav", sound),
        Route("/mel/{clip:int}.png", mel),
        Route("/static/{name:path}", static_file),
    ],
)
