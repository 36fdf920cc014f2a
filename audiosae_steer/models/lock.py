"""A lock on a model, for libraries whose models cannot be called from several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .families.method_override import overridden, override
from .registry import unwrap

_LOCK = "_audiosae_steer_lock"
_CALLS = ("transcribe", "decode", "detect_language", "embed_audio", "logits", "forward")
"""Methods of openai-whisper's model that run it."""
_making = threading.Lock()


class ModelLock:
    """A re-entrant lock that is not copied or pickled with its model: a copy gets a lock of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __deepcopy__(self, memo: Any) -> ModelLock:
        return ModelLock()

    def __reduce__(self) -> tuple[type[ModelLock], tuple[()]]:
        return ModelLock, ()


@contextmanager
def locked(model: Any) -> Iterator[None]:
    """Hold the model's lock: `with locked(model): whisper.transcribe(model, audio)`, one thread at a time.

    openai-whisper keeps the keys and values of a text's earlier steps in hooks on the model, so that two calls at once
    read each other's, steered or not. transformers does not, and needs no lock.
    """
    with lock_of(model):
        yield


def lock_of(model: Any) -> ModelLock:
    """The one lock of a model."""
    own = vars(unwrap(model))
    with _making:
        found: ModelLock = own.setdefault(_LOCK, ModelLock())
    return found


def lock_calls(model: Any) -> Callable[[], None]:
    """Make the methods of an openai-whisper model, or any other's `forward`, hold its lock.

    Returns a function that ends that.
    """
    names = _CALLS if hasattr(type(model), "transcribe") else ("forward",)
    closers = [override(model, name, _HOLDING[name]) for name in names]

    def close() -> None:
        for each in closers:
            each()

    return close


def _holding(name: str) -> Callable[..., Any]:
    def call(model: Any, *args: Any, **kwargs: Any) -> Any:
        with lock_of(model):
            return overridden(model, name)(*args, **kwargs)

    return call


_HOLDING = {name: _holding(name) for name in _CALLS}
