"""Own clips, steering and recipes made by hand: two pages, and the JSON that they ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ....errors import AudioSAESteerError
from ...live.live_explorer import LiveExplorer
from ...live.own_clips import MAX_BYTES, MAX_SECONDS
from ...live.steering_request import RATINGS, parse_content
from ...live.work_queue import BusyError, SupersededError
from ..byte_ranges import ranged
from ..explorer_site import View, nonce_of, site_of, whole_number

if TYPE_CHECKING:
    from starlette.requests import Request

LOG = logging.getLogger("audiosae_steer.explorer")
RETRY = "2"
"""Seconds after which a browser may ask again, when too many wait."""
Found = TypeVar("Found")


def own(request: Request) -> HTMLResponse:
    """Page of an own clip: what fires on it, and what the gates decide."""
    return _page(request, "own.html", "Own clip")


def steer(request: Request) -> HTMLResponse:
    """Page on which a clip is steered, and a recipe made."""
    return _page(request, "steer.html", "Steer")


def _page(request: Request, template: str, title: str) -> HTMLResponse:
    site, live = site_of(request), live_of(request)
    layer = whole_number(request.query_params.get("layer"), site.layers[0].layer)
    if layer is None or not site.has_layer(layer):
        layer = site.layers[0].layer
    clips = site.index.clips() if site.index.keeps_sound else []
    state = {
        "output": live.output,
        "layers": [{"layer": row.layer, "features": row.features} for row in site.layers],
        "recipes": [each._asdict() for each in live.offered()],
        "clips": [[each.id, each.name, each.label, each.seconds] for each in clips],
        "model": site.index.meta.get("model", ""),
    }
    page = site.page(
        template, template, nonce=nonce_of(request), title=title, layer=layer, state=state, live=live,
        recipes=live.offered(), clips=clips, seconds=int(MAX_SECONDS), megabytes=MAX_BYTES >> 20, ratings=RATINGS,
    )  # fmt: skip
    return HTMLResponse(page)


def live_of(request: Request) -> LiveExplorer:
    """The site's live part. HTTPException: it has none."""
    found = site_of(request).extra.get("live")
    if not isinstance(found, LiveExplorer):
        raise HTTPException(404, "nothing is steered live here")
    return found


def answering(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """A handler whose errors are told as JSON: 400 for what was asked wrongly, 409 and 429 for what had to wait."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except SupersededError as error:
            return JSONResponse({"error": str(error), "superseded": True}, 409)
        except BusyError as error:
            return JSONResponse({"error": str(error)}, 429, headers={"retry-after": RETRY})
        except AudioSAESteerError as error:
            return JSONResponse({"error": str(error)}, 400)
        except asyncio.CancelledError:
            raise
        except HTTPException:
            raise
        except Exception:
            LOG.exception("a request to the live part failed")
            return JSONResponse({"error": "this did not work; the terminal has the reason"}, 500)

    return answer


async def clip(request: Request) -> Response:
    """Take an own clip, which is the body; `name` in the query is for people."""
    live, body = live_of(request), await request.body()
    name = request.query_params.get("name", "")[:200]
    return JSONResponse(await asyncio.to_thread(live.add_clip, body, name))


async def listen(request: Request) -> Response:
    """Features that fire on a clip."""
    return JSONResponse(await _waited(live_of(request).listen(parse_content(await request.body()))))


async def steered(request: Request) -> Response:
    """A clip before and after."""
    return JSONResponse(await _waited(live_of(request).steer(parse_content(await request.body()))))


async def recipe(request: Request) -> Response:
    """A recipe as a file: `?as=json`, or `?as=zip` with its SAE."""
    content = parse_content(await request.body())
    made = await _waited(live_of(request).save(content))
    if request.query_params.get("as") == "zip" and made.bundle is not None:
        return _download(made.bundle, f"{made.recipe.name}.zip", "application/zip")
    answer = _download(made.json, f"{made.recipe.name}.json", "application/json")
    answer.headers["x-needs"] = ",".join(made.needs)
    return answer


async def _waited(future: Future[Found]) -> Found:
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.cancel()
        raise


def _download(body: bytes, name: str, kind: str) -> Response:
    return Response(body, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def own_sound(request: Request) -> Response:
    """An own clip as WAV."""
    return _kept(request, lambda live, token: live.own_wav(token), "audio/wav")


def own_mel(request: Request) -> Response:
    """An own clip's log-mel spectrogram."""
    return _kept(request, lambda live, token: live.own_mel(token), "image/png")


def made_sound(request: Request) -> Response:
    """A sound that a model made."""
    return _kept(request, lambda live, token: live.sounds.get(token).wav, "audio/wav")


def _kept(request: Request, read: Callable[[LiveExplorer, str], bytes], kind: str) -> Response:
    token = request.path_params["token"]
    try:
        body = read(live_of(request), token)
    except AudioSAESteerError as error:
        raise HTTPException(404, str(error)) from error
    return ranged(request, body, kind, token)


def feature(request: Request) -> JSONResponse:
    """A feature's name and range, for its slider."""
    site, layer, number = site_of(request), request.path_params["layer"], request.path_params["feature"]
    found = site.index.feature(layer, number) if site.has_layer(layer) else None
    if found is None:
        raise HTTPException(404, "there is no feature of that number in that layer")
    label = site.notes.labels(layer).get(number) or found.label
    return JSONResponse({"label": label, "peak": found.peak, "mean": found.mean, "clips": found.clips})


def links(title: str, name: str) -> dict[str, Any]:
    """Title, link and templates of a page."""
    return {"title": title, "link": lambda site, layer: f"{name}.html?layer={layer}", "templates": (name,)}


OWN = View(
    **links("Own clip", "own"),
    routes=[
        Route("/own.html", own),
        Route("/live/clip", answering(clip), methods=["POST"]),
        Route("/live/listen", answering(listen), methods=["POST"]),
        Route("/live/own/{token}.wav", own_sound),
        Route("/live/own/{token}.png", own_mel),
    ],
    live=True,
    limits={"/live/clip": MAX_BYTES},
)
STEER = View(
    **links("Steer", "steer"),
    routes=[
        Route("/steer.html", steer),
        Route("/live/steer", answering(steered), methods=["POST"]),
        Route("/live/recipe", answering(recipe), methods=["POST"]),
        Route("/live/made/{token}.wav", made_sound),
        Route("/live/feature/{layer:int}/{feature:int}.json", feature),
    ],
    live=True,
)
VIEWS = (OWN, STEER)
