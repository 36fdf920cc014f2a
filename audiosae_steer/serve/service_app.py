"""The server's routes: texts, models, health and metrics."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import SteeringError
from ..evaluate.transcription.decoding import FALLBACK, Decoding
from .access import ANYBODY, Access, Guard
from .model_worker import LeftError, ModelWorker, Task
from .service_errors import ApiError, as_response, quoted
from .service_metrics import Metrics
from .uploads import Limits, Order, check_order, read_form, read_sound

LOG = logging.getLogger("audiosae_steer.serve")


class Service:
    """State of one server.

    Args:
        workers: by the name of their model.
        limits: on requests.
        metrics: that the workers have, too.
        access: the clients that may call it.
        unknown: pass over unknown fields of a form.
    """

    def __init__(
        self,
        workers: dict[str, ModelWorker],
        limits: Limits,
        metrics: Metrics,
        *,
        access: Access = ANYBODY,
        unknown: bool = False,
    ) -> None:
        self.workers, self.limits, self.metrics = workers, limits, metrics
        self.access, self.unknown = access, unknown
        self.draining = False
        self.inside = self.uploading = 0
        self._usual = 1.0
        """Seconds that a request takes, about."""
        self._threads = ThreadPoolExecutor(limits.queue, "request")
        self._reading = threading.BoundedSemaphore(2)  # sound that is decoded takes most of the memory

    @property
    def state(self) -> str:
        """Word for what it is doing."""
        if self.draining:
            return "draining"
        return "ready" if all(worker.ready.is_set() for worker in self.workers.values()) else "loading"

    @property
    def failure(self) -> BaseException | None:
        """Reason why a model could not be loaded."""
        return next((worker.failure for worker in self.workers.values() if worker.failure is not None), None)

    async def order(self, request: Request) -> Order:
        """Read and check a request.

        Raises:
            ApiError: it is refused.
        """
        if self.state != "ready":
            raise ApiError(503, f"the server is {self.state}; try again shortly", self.state, retry_after=2)
        if self.uploading >= self.limits.queue:
            raise self.full()
        self.check_room()
        self.uploading += 1
        try:
            began = time.monotonic()
            form = await read_form(request, self.limits)
        finally:
            self.uploading -= 1
        try:
            recipes = {
                name: max(1.0, steering.recipe.strength if steering.recipe else 1.0)
                for worker in self.workers.values()
                for name, steering in worker.steerings.items()
            }
            order = check_order(form, self.workers, recipes, unknown=self.unknown)
            self.metrics.seconds.labels(order.model, "upload").observe(time.monotonic() - began)
            self.check_room()
        except BaseException:
            await form.close()
            raise
        return order

    def check_room(self) -> None:
        """Refuse a request if as many wait as may."""
        if self.inside >= self.limits.queue:
            raise self.full()

    def full(self) -> ApiError:
        """The refusal of one request too many."""
        after = min(max(self._usual * self.inside / 2, 1.0), 60.0)
        return ApiError(
            429, f"{self.inside} requests are waiting, which is the limit; try again after {after:.0f} s",
            "queue_full", retry_after=after,
        )  # fmt: skip

    def begin(self, order: Order, kind: str, listen: Callable[[Any], None] | None) -> tuple[Any, Task, dict[str, Any]]:
        """Start on a request; gives its future, its task, and the steering that is applied."""
        from .answers import applied

        worker = self.workers[order.model]
        steering = worker.steerings.get(order.recipe or "")
        usual = steering.recipe.strength if steering is not None and steering.recipe is not None else 1.0
        task = Task(order.recipe, usual if order.strength is None else order.strength)
        loop = asyncio.get_running_loop()
        self.inside += 1
        self.metrics.inside.set(self.inside)
        future = self._threads.submit(self._transcribe, worker, order, kind, task, listen)

        def leave(_: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._leave)

        future.add_done_callback(leave)
        waited = asyncio.wrap_future(future)
        waited.add_done_callback(partial(_told_of, task))
        return waited, task, applied(steering, order.recipe, task.strength)

    def _leave(self) -> None:
        self.inside -= 1
        self.metrics.inside.set(self.inside)

    def _transcribe(
        self, worker: ModelWorker, order: Order, kind: str, task: Task, listen: Callable[[Any], None] | None
    ) -> tuple[Any, float]:
        """Transcription and seconds of a request's sound, in a thread."""
        from ..evaluate.transcription.transcribe import check_decoding
        from .pooled_model import check_prompt, transcribe_pooled

        began = time.monotonic()
        with order.file.file:
            decoding = Decoding(
                language=order.language,
                filters=True,
                temperatures=(order.temperature,) if order.temperature else FALLBACK,
                task="translate" if kind == "translate" else "transcribe",
                word_timestamps=order.words,
            )
            try:
                param = "language" if order.language else "model"
                check_decoding(worker.model, decoding)
                param = "prompt"
                check_prompt(worker.model, order.prompt)
            except SteeringError as error:
                raise ApiError(400, str(error), "invalid_value", param=param) from error
            with self._reading:
                if task.left.is_set():
                    raise LeftError("its client is gone")
                samples = read_sound(order.file, self.limits)
        read = time.monotonic()
        self.metrics.seconds.labels(worker.name, "read").observe(read - began)
        found = transcribe_pooled(worker, samples, decoding, task, prompt=order.prompt, listen=listen)
        took = time.monotonic() - began
        self._usual += 0.1 * (took - self._usual)
        self._count(worker.name, task, found.transcript, len(samples) / 16_000, took)
        return found, len(samples) / 16_000

    def _count(self, model: str, task: Task, said: Any, seconds: float, took: float) -> None:
        recipe = task.recipe or "off"
        self.metrics.audio.labels(model).inc(seconds)
        self.metrics.seconds.labels(model, "total").observe(took)
        self.metrics.windows.labels(model, recipe).inc(len(task.windows))
        opened = {event.start for event in said.gates if event.opened and event.kind != "timestamp"}
        self.metrics.gated.labels(model, recipe).inc(len(opened))
        if not said.text:
            self.metrics.empty.labels(model, recipe).inc()

    def end(self) -> None:
        """End its threads."""
        for worker in self.workers.values():
            worker.end()
        self._threads.shutdown(cancel_futures=True)


def make_app(service: Service) -> Starlette:
    """The application."""

    def described(name: str) -> dict[str, Any]:
        recipes = [*service.workers[name].steerings]
        return {"id": name, "object": "model", "created": 0, "owned_by": "audiosae-steer", "recipes": recipes}

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [described(name) for name in service.workers]})

    async def model(request: Request) -> Response:
        if (name := request.path_params["name"]) not in service.workers:
            there = ", ".join(service.workers)
            raise ApiError(404, f"there is no model {quoted(name)} here; there are {there}", "not_found")
        return JSONResponse(described(name))

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        is_ready = service.state == "ready"
        return JSONResponse(
            {"status": service.state}, 200 if is_ready else 503, None if is_ready else {"Retry-After": "2"}
        )

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        for worker in service.workers.values():
            worker.start()
        yield
        await asyncio.to_thread(service.end)

    def of(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def text(request: Request) -> Response:
            return await _text(service, request, kind)

        return text

    routes = [
        Route("/v1/audio/transcriptions", of("transcribe"), methods=["POST"]),
        Route("/v1/audio/translations", of("translate"), methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
    ]
    handlers: dict[Any, Any] = {ApiError: as_response, HTTPException: as_response, Exception: as_response}
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=service.access, requests=service.metrics.requests)],
        lifespan=lifespan,
        exception_handlers=handlers,
    )


async def _text(service: Service, request: Request, kind: str) -> Response:
    """The answer to a request for a text, which is given up when its client goes."""
    from .answers import answer, header

    order = await service.order(request)
    told: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen(segment: Any) -> None:
        loop.call_soon_threadsafe(told.put_nowait, segment)

    future, task, steering = service.begin(order, kind, listen if order.stream else None)
    future.add_done_callback(lambda _: told.put_nowait(None))
    first = asyncio.ensure_future(told.get())
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait([first, gone], return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            raise ApiError(499, "the client is gone", "client_gone")
        if future.done() and isinstance(future.exception(), LeftError):
            raise ApiError(503, "the server ends; try again shortly", "draining", retry_after=5)
        if not order.stream or future.done():
            found, seconds = await future
            if not order.stream:
                return answer(found, order, kind, seconds, steering)
    except BaseException:
        service.workers[order.model].give_up(task)
        raise
    finally:
        first.cancel() if not first.done() else None
        gone.cancel()
    leave = partial(service.workers[order.model].give_up, task)
    sent = _events(told, first.result(), (future, leave), (order, kind, steering))
    return StreamingResponse(
        sent, media_type="text/event-stream", headers={"Cache-Control": "no-cache", **header(steering)}
    )


def _told_of(task: Task, future: asyncio.Future[Any]) -> None:
    """Take up the error of a request that nobody waits for any more, of which asyncio would print a traceback."""
    error = None if future.cancelled() else future.exception()
    if isinstance(error, LeftError):
        LOG.info("a request was given up: its client is gone, or the server ends")
    elif error is not None and task.left.is_set() and not isinstance(error, ApiError):
        LOG.error("a request failed, whose client is gone", exc_info=error)


async def _gone(request: Request) -> None:
    """Wait until the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(
    told: asyncio.Queue[Any], first: Any, work: tuple[Any, Callable[[], None]], asked: tuple[Order, str, dict[str, Any]]
) -> AsyncGenerator[str, None]:
    """Server-sent events: segments as they come, and the whole."""
    from .answers import delta, done, event

    (future, leave), (order, kind, steering) = work, asked
    try:
        while first is not None:
            yield delta(first)
            first = await told.get()
        found, seconds = await future
        yield done(found, order, kind, seconds, steering)
    except (ApiError, LeftError) as error:
        ends = ApiError(503, "the server ends; try again shortly", "draining", retry_after=5)
        yield event((error if isinstance(error, ApiError) else ends).content)
    except Exception:
        LOG.exception("a stream ended in an error")
        yield event(ApiError(500, "the server failed here", "internal_error").content)
    finally:
        leave()
