"""Server of the explorer's pages: on loopback unless told otherwise, until it is interrupted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable

from ...errors import MissingExtraError, SteeringError
from .explorer_app import LOCAL, explorer_app
from .explorer_site import Site

PORT = 7341
"""Port that it listens at if it is free; the next free one otherwise."""
TRIED = 20
"""Ports that are tried, from there on."""
AT_ONCE = 64
"""Requests that are answered at once; more get 503."""


def serve_site(
    site: Site, *, host: str = "127.0.0.1", port: int | None = None, names: Iterable[str] = (),
    ready: Callable[[str], None] = lambda address: None,
) -> None:  # fmt: skip
    """Serve the pages until Ctrl-C.

    Args:
        site: of `explorer_site`.
        host: address or name to listen at.
        port: None: the first free one from `PORT` on; 0: any.
        names: further host names that it answers to, as behind a proxy.
        ready: told the address as soon as it listens.

    Raises:
        SteeringError: it cannot listen there.
        MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("the explorer needs uvicorn; run: pip install 'audiosae-steer[explore]'") from error
    bound = listening(host, port)
    local = is_loopback(host)
    known = (
        LOCAL
        | {name.lower() for name in names}
        | (frozenset() if local else {host.lower(), socket.gethostname().lower()})
    )
    app = explorer_app(site, names=frozenset(known), any_address=not local)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", server_header=False, ws="none",
        limit_concurrency=AT_ONCE, timeout_keep_alive=5, timeout_graceful_shutdown=2, loop="asyncio", http="h11",
    )  # fmt: skip
    shown = "localhost" if local or host in ("0.0.0.0", "::") else host
    with bound:
        ready(f"http://{f'[{shown}]' if ':' in shown else shown}:{bound.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[bound])


def is_loopback(host: str) -> bool:
    """True if only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens there.

    Raises:
        SteeringError: no port is free, or there is no such address.
    """
    tried = range(PORT, PORT + TRIED) if port is None else (port,)
    said = ""
    for each in tried:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0]
            bound = socket.socket(family, kind, protocol)
        except (OSError, OverflowError) as error:
            raise SteeringError(f"cannot listen at {host}: {error}; try --host 127.0.0.1") from error
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(128)
            return bound
        except OSError as error:
            bound.close()
            said = error.strerror or str(error)
    raise SteeringError(f"cannot listen at {host}, port {tried[0]}: {said}; choose another with --port")
