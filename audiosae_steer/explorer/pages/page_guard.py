"""Guard before all pages: only requests of this host's own pages, bounded bodies, and strict headers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("audiosae_steer.explorer")
MOST_BYTES = 256 << 10
"""Of the body of a request, where a view asks for no more."""
PATIENCE = 30.0
"""Seconds to wait for the next part of a body."""
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}


def content_policy(nonce: str) -> str:
    """Content-Security-Policy of every page: nothing from outside, no inline script; styles of one nonce.

    The nonce is for the player's own style element; a recording of the user's is played from a blob.
    """
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


class Guard:
    """ASGI middleware that refuses what the explorer's own pages would never send.

    A page of another site could otherwise reach the server through the user's browser, by a name that it makes point
    to this machine (DNS rebinding) or by a form.

    Args:
        app: the application behind.
        names: host names that it answers to, lower case, without ports.
        any_address: answer to every IP address too, which no other site can make point here.
        limits: bytes of a body by the beginning of the path, where more than `MOST_BYTES` are wanted.
    """

    def __init__(
        self, app: ASGIApp, names: frozenset[str], any_address: bool = False, limits: Mapping[str, int] | None = None
    ) -> None:
        self._app, self._names, self._any_address, self._limits = app, names, any_address, dict(limits or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(12)
        scope.setdefault("state", {})["nonce"] = nonce

        began = False

        async def guarded(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                _add_headers(message, nonce)
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await _say(guarded, *refused)
            return
        most = next((size for path, size in self._limits.items() if scope["path"].startswith(path)), MOST_BYTES)
        body = await _bounded(scope, receive, most)
        if isinstance(body, int):
            said = "this request's body is too large" if body == 413 else "this request's body did not come"
            await _say(guarded, body, said)
            return
        try:
            await self._app(scope, _replayed(body, receive), guarded)
        except Exception:
            if began:
                raise
            LOG.exception("a request failed")  # what is raised further out is answered without these headers
            await _say(guarded, 500, "this did not work; the terminal has the reason")

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        hosts = _header(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 403, "this server answers to its own address only"
        origins = _header(scope, b"origin")
        if any(origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins):
            return 403, "this server answers to its own pages only"
        came = _header(scope, b"sec-fetch-site")
        if scope["method"] not in SAFE and any(site not in ("same-origin", "none") for site in came):
            return 403, "this server takes changes from its own pages only"
        return None

    def _is_ours(self, host: str) -> bool:
        name, separator, port = host.rpartition(":")
        if not separator or host.endswith("]"):
            name, port = host, "0"
        if not port.isdigit():
            return False
        name = name.removeprefix("[").removesuffix("]").lower() if name.startswith("[") else name.lower()
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or (address.is_loopback and "localhost" in self._names)


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _add_headers(message: MutableMapping[str, Any], nonce: str) -> None:
    headers = list(message.get("headers", ()))
    given = {key.lower() for key, _ in headers}
    wanted = {**HEADERS, "content-security-policy": content_policy(nonce), "cache-control": "no-store"}
    headers += [(key.encode(), value.encode()) for key, value in wanted.items() if key.encode() not in given]
    message["headers"] = headers


async def _bounded(scope: Scope, receive: Receive, most: int) -> bytes | int:
    """The whole body, or the status of the refusal."""
    for length in _header(scope, b"content-length"):
        if not length.isdigit() or int(length) > most:
            return 413
    body = bytearray()
    while True:
        try:
            message = await asyncio.wait_for(receive(), PATIENCE)
        except TimeoutError:
            return 408
        if message["type"] != "http.request":
            return 400
        body += message.get("body", b"")
        if len(body) > most:
            return 413
        if not message.get("more_body"):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _say(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
