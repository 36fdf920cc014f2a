"""Clients that may call the server: by its name, from no other site's pages, and with its key."""

from __future__ import annotations

import hmac
import logging
from typing import NamedTuple
from urllib.parse import urlsplit

from prometheus_client import Counter
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import printable
from .service_errors import ApiError, as_response

LOG = logging.getLogger("audiosae_steer.serve")

OPEN = ("/health", "/ready")
"""Paths that anybody may ask for: probes call a server by its address."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Access(NamedTuple):
    """Conditions on clients."""

    key: str | None = None
    """Key that they must send; None: none."""
    hosts: tuple[str, ...] = ()
    """Names by which they may call the server; empty: any."""


ANYBODY = Access()


class Guard:
    """The check of every request's host, origin and key, before anything else; and the count of answers."""

    def __init__(self, app: ASGIApp, access: Access, requests: Counter) -> None:
        self.app, self.access, self.requests = app, access, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        paths = [route.path for route in scope["app"].routes]
        route = scope["path"] if scope["path"] in paths else "other"

        began = False

        async def counted(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                self.requests.labels(route, str(message["status"])).inc()
            await send(message)

        refusal = self.refusal(Request(scope))
        try:
            await (self.app if refusal is None else refusal.response())(scope, receive, counted)
        except Exception as error:
            if began:
                raise
            # answered here: what is raised further out costs the client its connection, and is not counted
            LOG.exception("a request failed")
            await as_response(Request(scope), error)(scope, receive, counted)

    def refusal(self, request: Request) -> ApiError | None:
        """Reason against a request."""
        if request.scope["path"] in OPEN:
            return None
        told = request.headers.get("host", "")
        try:
            name = urlsplit(f"//{told}").hostname or ""
            origin = urlsplit(request.headers.get("origin", f"//{told}")).netloc
        except ValueError:
            return ApiError(403, "the request's Host or Origin is no name of a host", "host_not_allowed")
        if self.access.hosts and name not in self.access.hosts:
            called = printable(name, 80)
            message = f"this server is not called {called!r}; start it with --allow-host {called}, if it is meant to be"
            return ApiError(403, message, "host_not_allowed")
        if origin != told:
            return ApiError(403, "pages of other sites may not call this server from a browser", "origin_not_allowed")
        key = self.access.key
        if key is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), key.encode()):
                message = "the API key is missing or wrong; send it as `Authorization: Bearer KEY`"
                return ApiError(401, message, "invalid_api_key")
        return None
