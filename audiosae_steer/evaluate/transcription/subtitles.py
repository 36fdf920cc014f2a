"""Transcripts as files: srt, vtt, txt, json."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import SteeringError
from ...io.files import write_atomic
from .gate_windows import gate_record
from .transcribe import Segment, Transcript
from .words import Word

ARROW = re.compile("-{2,}>")  # would begin another cue


def write_transcript(transcript: Transcript, path: str | Path) -> Path:
    """Write a transcript in the format that the path's ending names, atomically.

    Raises:
        SteeringError: the ending is not srt, vtt, txt or json, or the file cannot be written there.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.removeprefix(".").lower())
    if form is None:
        raise SteeringError(f"{path.name} ends in no format that is written; expected one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():  # which is more likely a slip than a wish
        raise SteeringError(f"cannot write {path}: there is no such folder; choose another folder")
    write_atomic(path, form(transcript), SteeringError)
    return path


def clock(seconds: float, mark: str = ".", *, hours: bool = True) -> str:
    """Seconds as HH:MM:SS.mmm; hours of 0 are left out unless asked for."""
    milliseconds = round(seconds * 1000)
    whole, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    front = f"{whole:02d}:" if hours or whole else ""
    return f"{front}{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


def as_srt(transcript: Transcript) -> str:
    """Text of a SubRip file."""
    return "".join(
        f"{n}\n{clock(s.start, ',')} --> {clock(s.end, ',')}\n{ARROW.sub('->', _line(s.text))}\n\n"
        for n, s in enumerate(transcript.segments, 1)
    )


def as_vtt(transcript: Transcript) -> str:
    """Text of a WebVTT file."""
    cues = (
        f"{clock(s.start, hours=False)} --> {clock(s.end, hours=False)}\n{html.escape(_line(s.text), quote=False)}\n\n"
        for s in transcript.segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _line(text: str) -> str:
    """The text on one line; an empty line within would end its cue."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _txt(transcript: Transcript) -> str:
    return "".join(f"{_line(segment.text)}\n" for segment in transcript.segments)


def _part(part: Segment | Word) -> dict[str, Any]:
    """Fields of a segment or word; words only where they were asked for, speech where a gate told."""
    fields = part._asdict()
    if fields["speech"] is None:
        del fields["speech"]
    words = fields.pop("words", None)
    return fields if words is None else fields | {"words": [_part(word) for word in words]}


def transcript_record(transcript: Transcript) -> dict[str, Any]:
    """All of a transcript, as JSON holds it."""
    content = {
        "text": transcript.text,
        "language": transcript.language,
        "segments": [_part(segment) for segment in transcript.segments],
        "windows": None if transcript.windows is None else [window._asdict() for window in transcript.windows],
        "gates": [gate_record(event) for event in transcript.gates],
    }
    if transcript.dropped:
        content["dropped"] = [_part(part) for part in transcript.dropped]
    return content


def _json(transcript: Transcript) -> str:
    return json.dumps(transcript_record(transcript), ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {"srt": as_srt, "vtt": as_vtt, "txt": _txt, "json": _json}
