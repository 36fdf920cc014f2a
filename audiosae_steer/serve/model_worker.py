"""One thread that runs one model: it decodes the windows of all requests, those that wait at once in one batch."""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import AudioSAESteerError
from ..steering.events import GateEvent
from ..steering.steering import Steering, steer
from .service_metrics import Metrics


class LeftError(AudioSAESteerError):
    """Nobody waits for the text any more: its client is gone, or the server ends."""


@dataclass(eq=False)
class Task:
    """One request at a model, for its windows, of which one at a time is under way."""

    recipe: str | None = None
    """Recipe that steers its windows; None: the unsteered model."""
    strength: float = 1.0
    left: threading.Event = field(default_factory=threading.Event)
    """Set if nobody waits for it any more."""
    events: list[GateEvent] = field(default_factory=list)
    """Decisions of its recipe's gates so far."""
    windows: set[float] = field(default_factory=set)
    """Seconds at which its windows begin."""


@dataclass(eq=False)
class Work:
    """A window to decode; or a call of the model, if `call` is set."""

    task: Task
    offset: float
    """Seconds of the recording at which its window begins."""
    mel: Tensor | None = None
    """(mels, 3000)."""
    options: Any = None
    """openai-whisper's `DecodingOptions`."""
    call: Callable[[Any], Any] | None = None
    future: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def sampled(self) -> bool:
        """It draws tokens by chance."""
        return self.options is not None and self.options.temperature > 0


class ModelWorker:
    """A model with its recipes, and the thread that runs it.

    Every recipe is a steering of its own on the model; a window is steered by one of them, at its own strength, and
    the others have strength 0 for it.

    Args:
        name: of the model, for metrics.
        load: gives the openai-whisper model, in the thread.
        recipes: what `steer` takes, by the names that requests use.
        batch: windows that are decoded at once at most.
        metrics: of the server.
    """

    def __init__(
        self, name: str, load: Callable[[], Any], recipes: dict[str, Any], *, batch: int, metrics: Metrics
    ) -> None:
        self.name, self.batch = name, batch
        self.model: Any = None
        self.steerings: dict[str, Steering] = {}
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        """Reason why there is no model."""
        self._load, self._recipes, self._metrics = load, recipes, metrics
        self._waiting: deque[Work] = deque()
        self._changed, self._ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)

    def start(self) -> None:
        """Load the model, warm it up, and work."""
        self._thread.start()

    def end(self) -> None:
        """Finish what is under way, and refuse what waits."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def give_up(self, task: Task) -> None:
        """Note that nobody waits for a request any more: its window leaves the queue, or the batch at its next step."""
        task.left.set()
        with self._changed:
            for work in [work for work in self._waiting if work.task is task]:
                self._waiting.remove(work)
                self._fail([work], LeftError("nobody waits for this any more"))
            self._tell_waiting()

    def result(self, work: Work) -> Any:
        """Have a window decoded, or a call made, and wait for it.

        Raises:
            LeftError: its request is given up, or the server ends.
        """
        with self._changed:
            if self._ended or work.task.left.is_set():
                raise LeftError("nobody waits for this any more")
            self._waiting.append(work)
            self._tell_waiting()
            self._changed.notify()
        return work.future.result()

    def _run(self) -> None:
        try:
            self.model = self._load()
            for name, recipe in self._recipes.items():
                self.steerings[name] = steer(self.model, recipe)
            self._warm_up()
        except BaseException as error:
            self.failure = error
            return
        self.ready.set()
        while works := self._next():
            try:
                self._work(works)
            except Exception as error:
                self._fail(works, error)
            self._fail(works, LeftError("nobody waits for this any more"))
        with self._changed:
            self._fail(self._waiting, LeftError("the server ends"))
            self._waiting.clear()
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Set the gauge of windows that wait: after each change of them."""
        self._metrics.waiting.labels(self.name).set(len(self._waiting))

    def _fail(self, works: Iterable[Work], error: Exception) -> None:
        """Give this error to those that have no result."""
        for work in works:
            if not work.future.done():
                work.future.set_exception(error)

    def _next(self) -> list[Work]:
        """The first that waits, and of those that can be decoded with it as many as there is room for."""
        with self._changed:
            while not (self._waiting or self._ended):
                self._changed.wait()
            if self._ended:
                return []
            first = self._waiting[0]
            alike = [first]
            if first.call is None and not first.sampled:
                alike = [work for work in self._waiting if work.call is None and work.options == first.options]
            taken = alike[: self.batch]
            for work in taken:
                self._waiting.remove(work)
            self._tell_waiting()
        for work in taken:
            self._metrics.seconds.labels(self.name, "queue").observe(time.monotonic() - work.since)
        return taken

    def _work(self, works: list[Work]) -> None:
        first = works[0]
        for work in works:
            work.task.windows.add(work.offset)
        if first.call is not None or first.sampled:
            with self._settings([first]):
                first.future.set_result(self._sample(first) if first.call is None else first.call(self.model))
            return
        began = time.monotonic()
        encodings = self._encode(works)
        encoded = time.monotonic()
        again = self._decode(works, encodings)
        for row in again:  # which are nearly ties
            self._decode([works[row]], encodings[row : row + 1])
        self._metrics.again.labels(self.name).inc(len(again))
        self._metrics.batch.labels(self.name).observe(len(works))
        for stage, seconds in (("encode", encoded - began), ("decode", time.monotonic() - encoded)):
            self._metrics.seconds.labels(self.name, stage).observe(seconds)

    @torch.no_grad()
    def _encode(self, works: Sequence[Work]) -> Tensor:
        """Encodings (windows, 1500, d). On a CPU one by one, which takes no longer, and rounds as it does alone."""
        from .window_batch import WindowBatch

        task = WindowBatch(self.model, works[0].options)
        size = len(works) if self.model.device.type == "cuda" else 1
        parts = []
        for at in range(0, len(works), size):
            group = works[at : at + size]
            with self._settings(group):
                parts.append(task.encode(torch.stack([work.mel for work in group if work.mel is not None])))
        return torch.cat(parts)

    def _decode(self, works: Sequence[Work], encodings: Tensor) -> list[int]:
        from .window_batch import WindowBatch

        return WindowBatch(self.model, works[0].options).texts(
            encodings,
            lambda rows: self._settings([works[row] for row in rows]),
            lambda row, result: works[row].future.set_result(result),
            lambda row: works[row].task.left.is_set(),
        )

    def _sample(self, work: Work) -> Any:
        """Text of a window at a temperature, alone. The same window draws the same tokens, whatever else is at work."""
        mel = work.mel
        with torch.random.fork_rng():
            seed = b"" if mel is None else mel.float().cpu().numpy().tobytes()
            torch.manual_seed(zlib.crc32(seed + repr(work.options).encode()))
            return self.model.decode(mel, work.options)

    @contextmanager
    def _settings(self, works: Sequence[Work]) -> Iterator[None]:
        """Steer each of these rows by its own recipe and strength, and note what the gates decide."""
        with ExitStack() as stack:
            sessions = {}
            for name, steering in self.steerings.items():
                strengths = [work.task.strength if work.task.recipe == name else 0.0 for work in works]
                offsets = [work.offset for work in works]
                alone = len(works) == 1
                sessions[name] = stack.enter_context(
                    steering.session(
                        strength=strengths[0] if alone else strengths, offset=offsets[0] if alone else offsets
                    )
                )
            yield
            for name, session in sessions.items():
                for event in session.events:
                    if works[event.clip].task.recipe == name:
                        works[event.clip].task.events.append(event._replace(clip=0))

    def _warm_up(self) -> None:
        """Decode dummy windows, one and then a whole batch."""
        from whisper.decoding import DecodingOptions

        dims, on_gpu = self.model.dims, self.model.device.type == "cuda"
        options = DecodingOptions(language="en", sample_len=2, fp16=on_gpu)
        mel = torch.zeros(dims.n_mels, 3000, device=self.model.device)
        name = next(iter(self.steerings), None)
        for size in sorted({1, self.batch}):
            works = [Work(Task(name), 0.0, mel, options) for _ in range(size)]
            encodings = self._encode(works if on_gpu else works[:1])
            self._decode(works, encodings if on_gpu else encodings.repeat(size, 1, 1))
