"""Texts that were written already, kept on disk as they come, so that an interrupted sweep goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import SteeringError

NAME = "texts.jsonl"


class Said(NamedTuple):
    """What a model wrote for a clip."""

    text: str
    """With Whisper's own filters off."""
    filtered: str
    """With them on."""


class Texts:
    """What each arm wrote for each clip; with a folder, as JSON lines in it.

    Raises:
        SteeringError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._known: dict[tuple[str, str], Said] = {}
        self._path = None if folder is None else folder / NAME
        self.written = 0
        """Texts added since it was opened."""
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
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # the last line was cut off when the run was
            with path.open("r+b") as file:
                file.truncate(whole)
        for line in content[:whole].decode("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
                self._known[entry["arm"], entry["clip"]] = Said(entry["text"], entry["filtered"])
            except (ValueError, KeyError, TypeError):  # a damaged line costs no more than its text
                continue

    def get(self, arm: str, clip: str) -> Said | None:
        """What that arm wrote for that clip, if it is known."""
        return self._known.get((arm, clip))

    def add(self, arm: str, found: Mapping[str, Said]) -> None:
        """Keep what an arm wrote, clip by clip."""
        self._known.update({(arm, clip): said for clip, said in found.items()})
        self.written += len(found)
        if self._path is not None:
            lines = [json.dumps({"arm": arm, "clip": clip, **said._asdict()}) + "\n" for clip, said in found.items()]
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))


def key_of(*parts: Any) -> str:
    """A name for an arm that has all these settings."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
