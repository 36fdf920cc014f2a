"""Self-contained HTML page of a result: figures, tables, pictures, sounds and origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...data.audio import SAMPLE_RATE
from ...evaluate.drawing import base64_of, new_figure, png_of
from ...evaluate.html_page import render
from ...evaluate.page_parts.stage_clips import (
    Curve,
    StageClip,
    media_of,
    page_state,
    player,
    spectrogram_of,
    stage_clip,
    stretch_of,
)
from .excerpts import Excerpts
from .presented import Figure, Moment, Picture, Sound, Table
from .provenance import Provenance

Trace = Callable[[Moment], Curve | None]
RATE = 50.0
"""Frames per second of a page without curves, which says nothing on it."""


def page_of(
    words: tuple[str, str],
    provenance: Provenance,
    figures: Sequence[Figure],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    moments: Sequence[Moment],
    audio: Excerpts | Sequence[Sound] | None,
    traced: Trace,
) -> str:
    """The page, with the sounds of the moments where the clips are given.

    Args:
        words: its title, and its claim.
        provenance: origin of the result.
        figures: headline numbers.
        tables: tables.
        pictures: pictures.
        moments: stretches of clips to hear.
        audio: the clips, or sounds that take the moments' place.
        traced: gives the activation over a moment, if it has one.

    Raises:
        AudioError: a clip cannot be read.
        MissingExtraError: matplotlib is not installed.
    """
    origin = asdict(provenance)
    clips = [] if audio is None else list(_clips(moments, audio, traced))
    rates = [curve.rate for curve in map(traced, moments) if curve is not None]
    return render(
        Path(__file__).with_suffix(".html"),
        title=words[0],
        claim=words[1],
        warnings=origin.pop("warnings"),
        figures=list(figures),
        tables=list(tables),
        pictures=[(each, _png(each)) for each in pictures],
        clips=clips,
        groups=_grouped(clips),
        rate=rates[0] if rates else RATE,
        state=page_state(clips),
        player=player(),
        origin=list(_flat(origin)),
    )


def _png(picture: Picture) -> str:
    figure = new_figure(picture.width, picture.height, extra="analyse")
    picture.draw(figure)
    return base64_of(png_of(figure))


def _clips(moments: Sequence[Moment], audio: Excerpts | Sequence[Sound], traced: Trace) -> Iterator[StageClip]:
    """Clips or sounds for the stage; the spectrogram is Whisper's, of the whole clip."""
    if not isinstance(audio, Excerpts):
        for number, sound in enumerate(audio):
            samples = np.asarray(sound.samples, np.float32)
            yield stage_clip(str(number), sound.name, media_of(samples, sound.rate), words=sound.says, top=0.0)
        return
    for number, moment in enumerate(moments):
        samples = audio.items[moment.clip].read()
        first = int(moment.start * SAMPLE_RATE)
        picture = stretch_of(spectrogram_of(samples), moment.start, moment.seconds)
        media = media_of(samples[first : first + int(moment.seconds * SAMPLE_RATE)], picture=picture)
        name = f"{moment.name}, {moment.start:.1f} to {moment.start + moment.seconds:.1f} s"
        curve = traced(moment)
        near = curve is not None and curve.lacks is not None
        yield stage_clip(
            str(number), name, media, curve, words=moment.says, kind="near" if near else "top",
            top=0.0 if curve is None else curve.top,
        )  # fmt: skip


def _grouped(clips: Sequence[StageClip]) -> list[tuple[str, list[StageClip]]]:
    """Clips under headings: those that only nearly fire under one of their own."""
    near = [clip for clip in clips if clip.kind == "near"]
    rest = [clip for clip in clips if clip.kind != "near"]
    return [("", rest), *([("Near misses", near)] if near else [])]


def _flat(content: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Keys and values of nested records, as words."""
    for key, value in content.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            for number, each in enumerate(value, 1):
                yield from _flat(each, f"{name} {number}: ")
        elif value not in (None, (), [], ""):
            yield name, ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else _word(value)


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
