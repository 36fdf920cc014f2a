"""Requests for a text: their form, read within bounds and checked field by field, and their sound."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ..data.audio import SAMPLE_RATE, Samples, decode
from ..data.sound_files import TooLongError
from ..errors import AudioError, printable
from ..io import strict_json
from .service_errors import ApiError, quoted

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
FIELDS = ("file", "model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]",
          "stream", "steering")  # fmt: skip
TEXT_BYTES = 16_000
"""Of a field that is not the file."""
SAMPLES_A_SECOND = 2 * 48_000
"""Samples that are decoded for each second allowed: stereo at 48 kHz."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on requests."""

    bytes: int = 25_000_000
    """Of an upload."""
    seconds: float = 1500.0
    """Of a recording."""
    queue: int = 64
    """Requests that wait for a text, and as many that are uploading."""
    idle: float = 10.0
    """Seconds without a byte, after which an upload, or a request's head, is given up."""
    rate: int = 16_000
    """Bytes a second that an upload reaches on average, after its first `idle` seconds."""


class Order(NamedTuple):
    """A checked request."""

    file: UploadFile
    model: str
    language: str | None
    prompt: str | None
    form: str
    """Response format."""
    temperature: float
    words: bool
    """Times of words are asked for."""
    segments: bool
    """Segments are asked for."""
    stream: bool
    recipe: str | None
    """None: without steering."""
    strength: float | None
    """None: as the recipe has it."""


async def read_form(request: Request, limits: Limits) -> FormData:
    """The form of a request; its file in a temporary file, which is the form's to close.

    Raises:
        ApiError: it is no form, too large, too slow, or malformed.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise ApiError(
            415, "the body is not multipart/form-data; send the recording as its field `file`, as curl -F does",
            "unsupported_media_type",
        )  # fmt: skip
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told) > limits.bytes + TEXT_BYTES:
        raise _too_large(limits)
    parser = MultiPartParser(
        request.headers, _bounded(request, limits), max_files=1, max_fields=32, max_part_size=TEXT_BYTES
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        message = f"the form cannot be read: {error.message} Send it as curl -F or an OpenAI client does"
        raise ApiError(400, message, "malformed_form") from error
    except (UnicodeError, ValueError, LookupError) as error:
        raise ApiError(400, f"the form cannot be read ({type(error).__name__})", "malformed_form") from error


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body, within the limits on bytes and time."""
    stream, began, size = request.stream(), time.monotonic(), 0
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream, b""), limits.idle)
        except TimeoutError as error:
            raise _too_slow(limits) from error
        if not chunk:
            return
        size += len(chunk)
        if size > limits.bytes + TEXT_BYTES:
            raise _too_large(limits)
        if time.monotonic() - began > limits.idle + size / limits.rate:
            raise _too_slow(limits)
        yield chunk


def _too_large(limits: Limits) -> ApiError:
    message = f"the upload is larger than {limits.bytes / 1e6:g} MB; send it as mp3, opus or flac, or in parts"
    return ApiError(413, message, "file_too_large", param="file")


def _too_slow(limits: Limits) -> ApiError:
    message = f"the upload stood still for {limits.idle:g} s, or is slower than {limits.rate:,} bytes/s; send it again"
    return ApiError(408, message, "upload_too_slow", param="file")


def check_order(form: FormData, models: Collection[str], recipes: Mapping[str, float], *, unknown: bool) -> Order:
    """The request that a form makes.

    Args:
        form: of `read_form`.
        models: names; the first is taken for OpenAI's own name, and without one.
        recipes: by name, with the largest strength of each; the first is taken where none is named.
        unknown: pass over unknown fields.

    Raises:
        ApiError: says which field is wrong, and what it takes.
    """
    given: dict[str, str] = {}
    file: UploadFile | None = None
    asked: list[str] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "file":
                raise _wrong(name, f"there is no file field {quoted(name)}; the recording's is `file`")
            file = value
        elif name.removesuffix("[]") == "timestamp_granularities":
            asked.append(_one_of("timestamp_granularities[]", value, ("word", "segment")))
        elif name == "file":
            raise _wrong(name, "`file` is text; send a file with its name, as curl -F file=@talk.wav does")
        elif name in given:
            raise _wrong(name, f"the field {quoted(name)} is there twice; send it once")
        elif name in FIELDS:
            given[name] = value
        elif not unknown:
            there = ", ".join(FIELDS)
            raise _wrong(name, f"there is no field {quoted(name)} here; leave it out. There are {there}")
    if file is None:
        raise _wrong("file", "there is no `file`; send the recording as that field, as curl -F file=@talk.wav does")
    names = list(models)
    model = given.get("model", names[0])
    if model not in names and model != "whisper-1":
        there = f"there are {', '.join(names)}, and whisper-1 stands for the first"
        message = f"there is no model {quoted(model)} here; {there}"
        raise ApiError(404, message, "model_not_found", param="model")
    form_ = _one_of("response_format", given.get("response_format", "json"), FORMATS)
    if asked and form_ != "verbose_json":
        raise _wrong("timestamp_granularities[]", "times need response_format=verbose_json; add it")
    stream = _one_of("stream", given.get("stream", "false").lower(), ("true", "false")) == "true"
    if stream and form_ not in ("json", "verbose_json"):
        raise _wrong("stream", f"a stream is of JSON events, not {form_}; leave response_format out, or stream")
    recipe, strength = _steering(given.get("steering"), recipes)
    return Order(
        file, names[0] if model == "whisper-1" and model not in names else model, given.get("language") or None,
        given.get("prompt") or None, form_, _number("temperature", given.get("temperature", "0"), 1.0),
        "word" in asked, "segment" in asked or not asked, stream, recipe, strength,
    )  # fmt: skip


def _steering(text: str | None, recipes: Mapping[str, float]) -> tuple[str | None, float | None]:
    """Recipe and strength that the field `steering` asks for."""
    if text is None:
        return next(iter(recipes), None), None
    if text.strip().lower() == "off":
        return None, None
    takes = 'it takes off, or JSON such as {"recipe": "no-false-speech", "strength": 0.5}'
    found = _parsed(text, takes)
    if not isinstance(found, dict) or not found.keys() <= {"recipe", "strength"}:
        raise _wrong("steering", f"`steering` has other parts than recipe and strength; {takes}")
    if not recipes:
        raise _wrong(
            "steering",
            "this server has no recipes, so that nothing can be steered; leave `steering` out, or start the server "
            "with --recipe",
        )
    name, there = found.get("recipe", next(iter(recipes))), ", ".join(recipes)
    if not isinstance(name, str):
        raise _wrong("steering", f"recipe is not a name; there are: {there}. To steer by none send steering=off")
    if name not in recipes:
        raise _wrong(
            "steering",
            f"there is no recipe {quoted(name)} here; there are: {there}. The server is started with them",
        )
    strength = found.get("strength")
    if strength is None:
        return name, None
    if isinstance(strength, bool) or not isinstance(strength, (int, float)):
        raise _wrong("steering", f"strength is not a number; {takes}")
    return name, _number("strength", repr(strength), recipes[name], param="steering")


def _parsed(text: str, takes: str) -> Any:
    """The JSON of the field `steering`; says of what is nearly JSON which part is not."""
    try:
        return strict_json.parse(text)
    except (json.JSONDecodeError, UnicodeError, RecursionError) as error:
        raise _wrong("steering", f"`steering` is not JSON; {takes}") from error
    except ValueError as error:
        try:
            strict_json.parse(text, lenient=True)
        except ValueError:
            raise _wrong("steering", f"`steering` cannot be read: {error}; {takes}") from error
        raise _wrong("steering", f"strength is not a finite number; {takes}") from error


def _wrong(field: str, message: str) -> ApiError:
    return ApiError(400, message, "invalid_value", param=printable(field, 40))


def _one_of(field: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise _wrong(field, f"{field} is {quoted(value)}; expected one of {', '.join(known)}")
    return value


def _number(field: str, value: str, most: float, *, param: str | None = None) -> float:
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not 0 <= found <= most:
        raise _wrong(param or field, f"{field} is {quoted(value)}; expected a number from 0 to {most:g}")
    return found


def read_sound(file: UploadFile, limits: Limits) -> Samples:
    """Mono samples at 16 kHz of an uploaded file; its name is used in messages alone.

    Raises:
        ApiError: it is too long, or no audio.
    """
    name = printable(PurePath((file.filename or "").replace("\\", "/")).name or "the file", 80)
    try:
        samples = decode(file.file, name, seconds=limits.seconds + 1, budget=round(limits.seconds * SAMPLES_A_SECOND))
    except TooLongError as error:
        raise ApiError(413, str(error), "audio_too_long", param="file") from error
    except AudioError as error:
        raise ApiError(415, str(error), "unsupported_audio", param="file") from error
    if len(samples) > limits.seconds * SAMPLE_RATE:
        message = f"{name} is longer than {limits.seconds:g} s; send it in parts"
        raise ApiError(413, message, "audio_too_long", param="file")
    return samples
