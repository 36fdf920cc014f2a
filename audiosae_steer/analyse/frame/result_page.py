"""Self-contained HTML page of a result: figures, tables, pictures, sounds and origin."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ...data.audio import SAMPLE_RATE, Samples
from ...evaluate.drawing import base64_of, new_figure, png_of
from ...evaluate.html_page import render
from .excerpts import Excerpts
from .presented import Figure, Moment, Picture, Sound, Table
from .provenance import Provenance

Draw = Callable[[Moment, Samples], Picture | None]


class _Sound(NamedTuple):
    """A sound of the page."""

    name: str
    says: str
    wav: str
    """A WAV file in base64."""
    alt: str
    """Its picture in words; empty without one."""
    png: str
    """The picture in base64."""


def page_of(
    words: tuple[str, str],
    provenance: Provenance,
    figures: Sequence[Figure],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    moments: Sequence[Moment],
    audio: Excerpts | Sequence[Sound] | None,
    drawn: Draw,
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
        drawn: gives the picture of a moment, of its clip's samples, if it has one.

    Raises:
        AudioError: a clip cannot be read.
        MissingExtraError: matplotlib is not installed.
    """
    origin = asdict(provenance)
    return render(
        Path(__file__).with_suffix(".html"),
        title=words[0],
        claim=words[1],
        warnings=origin.pop("warnings"),
        figures=list(figures),
        tables=list(tables),
        pictures=[(each, _png(each)) for each in pictures],
        sounds=[] if audio is None else list(_sounds(moments, audio, drawn)),
        origin=list(_flat(origin)),
    )


def _png(picture: Picture) -> str:
    figure = new_figure(picture.width, picture.height, extra="analyse")
    picture.draw(figure)
    return base64_of(png_of(figure))


def _sounds(moments: Sequence[Moment], audio: Excerpts | Sequence[Sound], drawn: Draw) -> Iterator[_Sound]:
    if not isinstance(audio, Excerpts):
        for sound in audio:
            yield _Sound(sound.name, sound.says, _wav(sound.samples, sound.rate), "", "")
        return
    for moment in moments:
        samples = audio.items[moment.clip].read()
        first = int(moment.start * SAMPLE_RATE)
        wav = _wav(samples[first : first + int(moment.seconds * SAMPLE_RATE)], SAMPLE_RATE)
        name = f"{moment.name}, {moment.start:.1f} to {moment.start + moment.seconds:.1f} s"
        picture = drawn(moment, samples)
        alt, png = ("", "") if picture is None else (picture.alt, _png(picture))
        yield _Sound(name, moment.says, wav, alt, png)


def _wav(samples: Any, rate: int) -> str:
    """A WAV file in base64; what is beyond full scale is clipped."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return base64_of(file.getvalue())


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
