"""Transcripts as files: srt, vtt, txt, json."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import SteeringError
from .transcribe import Transcript


def write_transcript(transcript: Transcript, path: str | Path) -> Path:
    """Write a transcript in the format that the path's ending names; whole or not at all.

    Raises:
        SteeringError: the ending is none of srt, vtt, txt and json, or the folder does not exist.
    """
    path = Path(path)
    write = FORMATS.get(path.suffix.removeprefix("."))
    if write is None:
        raise SteeringError(f"{path.name} ends in no format that is written; expected one of {', '.join(FORMATS)}")
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise SteeringError(f"cannot write {path}: {error.strerror}; choose a folder that exists") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(write(transcript))
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    return path


def _srt(transcript: Transcript) -> str:
    blocks = (
        f"{n}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{s.text.replace('-->', '->')}\n"
        for n, s in enumerate(transcript.segments, 1)
    )
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    blocks = (
        f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{s.text.replace('-->', '->')}\n" for s in transcript.segments
    )
    return "WEBVTT\n\n" + "\n".join(blocks)


def _txt(transcript: Transcript) -> str:
    return "".join(f"{segment.text}\n" for segment in transcript.segments)


def _json(transcript: Transcript) -> str:
    segments = [segment._asdict() for segment in transcript.segments]
    content = {"text": transcript.text, "language": transcript.language, "segments": segments}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"


FORMATS: dict[str, Callable[[Transcript], str]] = {"srt": _srt, "vtt": _vtt, "txt": _txt, "json": _json}
