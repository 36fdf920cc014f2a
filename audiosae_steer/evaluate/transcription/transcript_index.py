"""Index of a folder's transcripts: the recording that each was made of, so that another of its name is not skipped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...errors import SteeringError
from ...io import strict_json
from ...io.files import locked_folder, write_atomic

NAME = ".transcripts.json"
"""The index in each folder that transcripts are written to; names and digests alone, no paths."""
HASHED = 1 << 20
"""Bytes at a recording's beginning that are hashed."""
LARGEST = 64 << 20
"""Bytes of an index that are read, at most: some 500,000 transcripts."""


class Content(NamedTuple):
    """A recording's file, as far as it tells one from another."""

    size: int
    """Bytes."""
    sha256: str
    """Of its first MiB."""

    @classmethod
    def of(cls, recording: Path) -> Content | None:
        """That of a file; None if it cannot be read, which reading its audio will say."""
        try:
            with recording.open("rb") as file:
                digest = hashlib.sha256(file.read(HASHED)).hexdigest()
                return cls(file.seek(0, os.SEEK_END), digest)
        except OSError:
            return None


def read_index(folder: Path) -> dict[str, Content]:
    """The recordings of a folder's transcripts, by the transcripts' keys; empty where there is no sound index."""
    try:
        path = folder / NAME
        if path.stat().st_size > LARGEST:
            return {}
        listed = strict_json.parse(path.read_bytes())["transcripts"]
        pairs = {key: words.split() for key, words in listed.items()}
        return {key: Content(int(size), sha256) for key, (size, sha256) in pairs.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # of somebody else, or damaged
        return {}


def key_of(transcript: Path) -> str:
    """Its name as JSON can hold it: names of files need not be text."""
    return os.fsencode(transcript.name).decode("utf-8", "backslashreplace")


def note(transcript: Path, content: Content | None) -> None:
    """Note in the index beside a transcript what it is of; None: that is not known.

    Commands that run at once do so one after another, where the file system has locks.

    Raises:
        SteeringError: it cannot be written.
    """
    folder, key = transcript.parent, key_of(transcript)
    with locked_folder(folder):
        index = read_index(folder)
        if index.get(key) == content:
            return
        index.pop(key, None)
        if content is not None:
            index[key] = content
        listed = {each: f"{index[each].size} {index[each].sha256}" for each in sorted(index)}
        text = json.dumps({"transcripts": listed}, ensure_ascii=False, indent=0) + "\n"
        write_atomic(folder / NAME, text, SteeringError)


def foreign(recording: Path, transcripts: Sequence[Path], index: Mapping[str, Content]) -> str | None:
    """A sentence on the first of these transcripts, of one folder, that is not of this recording; None if all are.

    One that the index does not know, of an earlier version of this package, is taken to be of it unless it is older.
    """
    content = Content.of(recording) if transcripts else None
    for transcript in transcripts if content is not None else ():
        noted = index.get(key_of(transcript))
        if noted is None and not _is_newer(recording, transcript):
            continue
        if noted != content:
            older = "" if noted is not None else "older than this file, and so perhaps "
            return (
                f"{recording} is not transcribed: {transcript} is {older}of another recording, or of this one before "
                "it was changed; write over it with --overwrite, or choose another folder with --out"
            )
    return None


def _is_newer(recording: Path, transcript: Path) -> bool:
    with suppress(OSError):
        return recording.stat().st_mtime > transcript.stat().st_mtime
    return False
