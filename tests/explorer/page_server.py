"""A server of explorer pages in a thread, for browsers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from audiosae_steer.explorer.pages.explorer_app import explorer_app
from audiosae_steer.explorer.pages.explorer_server import listening
from audiosae_steer.explorer.pages.explorer_site import Site


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The address of a server of that site."""
    import uvicorn

    bound = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(explorer_app(site), log_level="warning", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
