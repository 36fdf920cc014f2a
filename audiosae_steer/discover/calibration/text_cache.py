"""Cache of decoded texts, appended to a file as they come, so that an interrupted calibration resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import SteeringError

NAME = "texts.jsonl"


class Transcript(NamedTuple):
    """Text that a model wrote for a clip."""

    text: str
    """Text with Whisper's own filters off."""
    filtered: str
    """Text with the filters on."""


class TextCache:
    """Transcripts by arm and clip.

    Args:
        folder: folder for a file of JSON lines; None keeps them in memory.

    Raises:
        SteeringError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._known: dict[tuple[str, str], Transcript] = {}
        self._path = None if folder is None else folder / NAME
        self.written = 0
        """Texts added since the cache was opened."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._read(self._path)
        except OSError as error:
            raise SteeringError(
                f"the cache {folder} cannot be used: {error.strerror}; choose another folder"
            ) from error

    def _read(self, path: Path) -> None:
        if not path.is_file():
            return
        content = path.read_bytes()
        complete = content.rfind(b"\n") + 1
        if complete < len(content):  # the last line was cut off when the run was
            with path.open("r+b") as file:
                file.truncate(complete)
        for line in content[:complete].decode("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
                self._known[entry["arm"], entry["clip"]] = Transcript(entry["text"], entry["filtered"])
            except (ValueError, KeyError, TypeError):  # a damaged line costs no more than its text
                continue

    def get(self, arm: str, clip: str) -> Transcript | None:
        """Transcript of a clip by an arm; None if unknown."""
        return self._known.get((arm, clip))

    def add(self, arm: str, found: Mapping[str, Transcript]) -> None:
        """Add an arm's transcripts, by clip."""
        self._known.update({(arm, clip): each for clip, each in found.items()})
        self.written += len(found)
        if self._path is not None:
            lines = [json.dumps({"arm": arm, "clip": clip, **each._asdict()}) + "\n" for clip, each in found.items()]
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))


def key_of(*parts: Any) -> str:
    """Digest of an arm's settings, 24 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
