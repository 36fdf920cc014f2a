"""The server's process: sockets, signals, and connections that are too slow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import SteeringError
from ..models.load import load_whisper
from ..steering.recipes.load import check_recipe
from .access import ANYBODY, LOOPBACK, Access
from .model_worker import ModelWorker
from .service_app import Service, make_app
from .service_metrics import Metrics
from .uploads import Limits

DEFAULTS = Limits()
PROBES = ("/health", "/ready", "/metrics")
LOG = logging.getLogger("uvicorn.error")


def make_service(
    models: Sequence[str],
    recipes: Sequence[str],
    *,
    limits: Limits = DEFAULTS,
    device: str = "cpu",
    batch: int = 8,
    access: Access = ANYBODY,
    unknown: bool = False,
) -> Service:
    """A server's state, whose models are loaded when it starts.

    Args:
        models: as `load_whisper` takes them; the first is the default.
        recipes: as `steer` takes them, which must fit every model; the first is what a request gets that names none.
        limits: on requests.
        device: where the models run.
        batch: windows that are decoded at once at most.
        access: the clients that may call it.
        unknown: pass over unknown fields of a form.

    Raises:
        RecipeError: there is no such recipe.
        SteeringError: there is no model, one is named twice, or no room for a batch or a request.
    """
    if batch < 1 or limits.queue < 1:
        raise SteeringError(f"batch is {batch} and queue {limits.queue}; expected at least 1 of each")
    if not models or len(set(models)) < len(models) or len(set(recipes)) < len(recipes):
        raise SteeringError("name at least one model, and no model or recipe twice")
    for recipe in recipes:
        check_recipe(recipe)
    metrics = Metrics()
    given = {Path(recipe).stem if recipe.endswith(".json") else recipe: recipe for recipe in recipes}
    workers = {
        name: ModelWorker(name, partial(load_whisper, name, device=device), given, batch=batch, metrics=metrics)
        for name in models
    }
    return Service(workers, limits, metrics, access=access, unknown=unknown)


def run(service: Service, host: str = "127.0.0.1", port: int = 8000, *, drain: float = 60.0) -> None:
    """Serve until SIGTERM or SIGINT; what is under way is finished first.

    Args:
        service: its state.
        host: address to listen at.
        port: to listen at.
        drain: seconds for what is under way, at the end.

    Raises:
        Exception: a model could not be loaded.
    """
    Server(config_of(service, host, port, drain=drain), service).run()
    if service.failure is not None:
        raise service.failure


def config_of(service: Service, host: str, port: int, *, drain: float) -> uvicorn.Config:
    """uvicorn's settings."""
    return uvicorn.Config(
        make_app(service),
        host=host,
        port=port,
        http=partial(PatientProtocol, seconds=service.limits.idle),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=round(drain),
        server_header=False,
    )


def hosts_of(host: str, more: Sequence[str]) -> tuple[str, ...]:
    """Names by which clients may call a server that listens at `host`; none, which is any, where that is open."""
    return (*LOOPBACK, *more) if host in LOOPBACK else tuple(more)


class Server(uvicorn.Server):
    """uvicorn's server, which says at once that it drains, and ends if a model cannot be loaded."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service, self.told = service, False
        logging.getLogger("uvicorn.access").addFilter(_is_no_probe)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note that it drains; uvicorn does the rest."""
        self._tell()  # it may have got ready since the last tick
        self.service.draining = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """True if it is to end."""
        self._tell()
        return await super().on_tick(counter) or self.service.failure is not None

    def _tell(self) -> None:
        if not self.told and self.service.state == "ready":
            self.told = True
            LOG.info("Ready: the models are loaded and warm.")


def _is_no_probe(record: logging.LogRecord) -> bool:
    """False for the log's lines on what is asked every few seconds."""
    path = record.args[2] if isinstance(record.args, tuple) and len(record.args) > 2 else ""
    return path not in PROBES


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which closes connections that are slow: with a request's head, or a body after its answer."""

    def __init__(self, *args: Any, seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or stop if it is there."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for what is left of the body, or for the next head."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        theirs, answered = self.conn.their_state, self.conn.our_state is h11.DONE
        if self.transport.is_closing() or not (theirs is h11.IDLE or (theirs is h11.SEND_BODY and answered)):
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._seconds, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
