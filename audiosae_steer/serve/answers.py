"""Texts as OpenAI's response formats, with the steering that was applied."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, PlainTextResponse, Response

from ..evaluate.transcription.gate_windows import gate_record
from ..evaluate.transcription.subtitles import as_srt, as_vtt
from ..evaluate.transcription.transcribe import Segment
from ..steering.steering import Steering
from .pooled_model import Transcription
from .uploads import Order

MEASURES = ("seek", "tokens", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
"""Of a window, in each of its segments."""


def applied(steering: Steering | None, recipe: str | None, strength: float) -> dict[str, Any]:
    """The steering of a request: recipe, sha256 of its file, strength."""
    of = None if steering is None else steering.recipe
    return {"recipe": recipe, "sha256": None if of is None else of.sha256, "strength": strength if recipe else 0.0}


def header(steering: dict[str, Any]) -> dict[str, str]:
    """The same as a header of the answer."""
    if steering["recipe"] is None:
        return {"Audiosae-Steering": "off"}
    said = f"recipe={quote(steering['recipe'])}; strength={steering['strength']:g}; sha256={steering['sha256']}"
    return {"Audiosae-Steering": said}


def answer(found: Transcription, order: Order, task: str, seconds: float, steering: dict[str, Any]) -> Response:
    """The response in the format that was asked for."""
    said, headers = found.transcript, header(steering)
    if order.form == "text":
        return PlainTextResponse(said.text + "\n", headers=headers)
    if order.form == "srt":
        return PlainTextResponse(as_srt(said), headers=headers)
    if order.form == "vtt":
        return Response(as_vtt(said), media_type="text/vtt", headers=headers)
    return JSONResponse(content(found, order, task, seconds, steering), headers=headers)


def content(found: Transcription, order: Order, task: str, seconds: float, steering: dict[str, Any]) -> dict[str, Any]:
    """The JSON of the formats json and verbose_json."""
    said = found.transcript
    usage = {"type": "duration", "seconds": round(seconds, 3)}
    if order.form != "verbose_json":
        return {"text": said.text, "usage": usage}
    made: dict[str, Any] = {
        "task": task,
        "language": "english" if task == "translate" else _language(said.language),
        "duration": round(seconds, 3),
        "text": said.text,
    }
    if order.segments:
        raw = [each for each in found.raw["segments"] if each["text"].strip()]
        made["segments"] = [
            {"id": n, "start": each.start, "end": each.end, "text": each.text, **{key: of[key] for key in MEASURES}}
            | ({} if each.speech is None else {"speech": each.speech})
            for n, (each, of) in enumerate(zip(said.segments, raw, strict=True))
        ]
    if order.words:
        words = [word for segment in said.segments for word in segment.words or ()]
        made["words"] = [
            {"word": word.text.strip(), "start": word.start, "end": word.end}
            | ({} if word.speech is None else {"speech": word.speech})
            for word in words
        ]
    return made | {"usage": usage, "steering": steering | {"gates": [gate_record(event) for event in said.gates]}}


def delta(segment: Segment) -> str:
    """The event of a finished segment."""
    return event({"type": "transcript.text.delta", "delta": segment.text, "start": segment.start, "end": segment.end})


def done(found: Transcription, order: Order, task: str, seconds: float, steering: dict[str, Any]) -> str:
    """The last event, with the whole text."""
    full = content(found, order, task, seconds, steering)
    del full["usage"]  # an event's is of tokens
    return event({"type": "transcript.text.done", "steering": steering, **full}) + "data: [DONE]\n\n"


def event(of: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(of, ensure_ascii=False)}\n\n"


def _language(code: str | None) -> str | None:
    """A language's English name, as OpenAI's answers have it."""
    from whisper.tokenizer import LANGUAGES

    found: str | None = LANGUAGES.get(code or "", code)
    return found
