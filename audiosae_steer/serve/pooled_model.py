"""openai-whisper's own loop over a recording, with a stand-in for the model that has its windows decoded in batches.

A window begins where the text of the one before ends, and is tried at higher temperatures if it looks poor: all of that
is the library's code, the same that runs offline, one thread for each request. Only `model.decode` goes elsewhere.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from ..data.audio import SAMPLE_RATE, Samples
from ..errors import SteeringError
from ..evaluate.transcription.decoding import Decoding, openai_options
from ..evaluate.transcription.gate_windows import gates_of
from ..evaluate.transcription.transcribe import Segment, Transcript, openai_segment, openai_transcript
from .model_worker import ModelWorker, Task, Work

Listener = Callable[[Segment], None]


class Transcription(NamedTuple):
    """The text of a request's recording."""

    transcript: Transcript
    raw: dict[str, Any]
    """Result of `whisper.transcribe`."""


class PooledModel:
    """The parts of an openai-whisper model that `whisper.transcribe` uses.

    Args:
        worker: that runs the model.
        task: of the request.
        listen: called with each segment as soon as it is final, in the thread of the request.
    """

    def __init__(self, worker: ModelWorker, task: Task, listen: Listener | None) -> None:
        self._worker, self._task, self._listen = worker, task, listen
        self._told = 0
        model = worker.model
        self.device, self.dims = model.device, model.dims
        self.is_multilingual, self.num_languages = model.is_multilingual, model.num_languages

    def decode(self, mel: Any, options: Any) -> Any:
        """Result of one window (mels, 3000)."""
        place = _loop()
        self.tell(place["all_segments"])
        return self._worker.result(Work(self._task, float(place["time_offset"]), mel, options))

    def detect_language(self, mel: Any) -> Any:
        """As of openai-whisper's model."""
        return self._worker.result(Work(self._task, 0.0, call=lambda model: model.detect_language(mel)))

    def add_words(self, add: Callable[..., Any], **arguments: Any) -> None:
        """Call `whisper.timing.add_word_timestamps` for a window, in the model's thread: it puts hooks on it."""
        call = partial(add, **{key: value for key, value in arguments.items() if key != "model"})
        self._worker.result(Work(self._task, float(_loop()["time_offset"]), call=lambda model: call(model=model)))

    def tell(self, segments: list[dict[str, Any]]) -> None:
        """Tell of the segments that were not told of yet."""
        for found in segments[self._told :] if self._listen is not None else ():
            segment = openai_segment(self, found)
            if segment.text.strip() and self._listen is not None:
                self._listen(segment)
        self._told = len(segments)


def check_prompt(model: Any, prompt: str | None) -> None:
    """Refuse a prompt with a name of one of Whisper's special tokens, which stand for no text.

    Args:
        model: an openai-whisper model.
        prompt: text that is given to the first window.

    Raises:
        SteeringError: as it says.
    """
    from whisper.tokenizer import get_tokenizer

    special = get_tokenizer(model.is_multilingual, num_languages=model.num_languages).encoding.special_tokens_set
    found = min((name for name in special if name in (prompt or "")), default=None)
    if found is not None:
        raise SteeringError(
            f"the prompt holds {found}, which is a special token of Whisper's and no text; leave it out of the prompt"
        )


def transcribe_pooled(
    worker: ModelWorker,
    samples: Samples,
    decoding: Decoding,
    task: Task,
    *,
    prompt: str | None = None,
    listen: Listener | None = None,
) -> Transcription:
    """The text of a recording, as `evaluate.transcription.transcribe` gives it by the steered model alone.

    Args:
        worker: that runs the model.
        samples: mono, at 16 kHz.
        decoding: how.
        task: recipe and strength.
        prompt: text that is given to the first window as what was said before.
        listen: called with each segment as soon as it is final.

    Raises:
        LeftError: nobody waits for it any more.
    """
    model = PooledModel(worker, task, listen)
    result = _own_loop()(model, samples, initial_prompt=prompt or None, **openai_options(model, decoding))
    model.tell(result["segments"])
    said = openai_transcript(model, result).with_gates(gates_of(task.events, len(samples) / SAMPLE_RATE))
    return Transcription(said, result)


@cache
def _own_loop() -> Callable[..., dict[str, Any]]:
    """`whisper.transcribe` with word times that go by `PooledModel.add_words`; the library's own stays as it is."""
    from whisper.transcribe import add_word_timestamps, transcribe

    def add(*, model: PooledModel, **arguments: Any) -> None:
        model.add_words(add_word_timestamps, **arguments)

    names = {**transcribe.__globals__, "add_word_timestamps": add}
    own = types.FunctionType(transcribe.__code__, names, transcribe.__name__, transcribe.__defaults__)
    own.__kwdefaults__ = transcribe.__kwdefaults__
    return own


def _loop() -> dict[str, Any]:
    """Variables of the loop over the recording that is under way in this thread."""
    code = _own_loop().__code__
    frame = sys._getframe(1)
    while frame.f_code is not code:
        assert frame.f_back is not None
        frame = frame.f_back
    return frame.f_locals
