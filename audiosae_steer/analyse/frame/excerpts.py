"""Excerpts of audio files with their labels and groups: the clips that analyses run on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...data.audio import SAMPLE_RATE, Samples, decode
from ...data.audio_paths import list_audio, recording_of
from ...data.labels import label_rows
from ...data.sound_files import length
from ...errors import AudioError
from ...io.hub.read import sha256_of

LONGEST = 30.0
"""Seconds of the longest excerpt: Whisper's window."""
SHORTEST = 0.25
"""Seconds from which the rest of a longer file is an excerpt of its own."""


class Excerpt(NamedTuple):
    """A stretch of an audio file."""

    path: Path
    start: float
    """Seconds into the file."""
    seconds: float
    """Its length."""
    label: str | None
    """Its label; None where there is none."""
    group: str
    """Its speaker, instrument or recording: excerpts of one group are in one part."""

    @property
    def name(self) -> str:
        """The file's name, and where in the file it starts, if not at its beginning."""
        return self.path.name if self.start == 0 else f"{self.path.name}@{self.start:g}s"

    def read(self, sample_rate: int = SAMPLE_RATE) -> Samples:
        """Mono samples (n,) at `sample_rate` Hz. AudioError: they cannot be read."""
        return decode(self.path, str(self.path), sample_rate, start=self.start, seconds=self.seconds)


@dataclass(frozen=True)
class Excerpts:
    """Excerpts in order, and how much is known of their groups."""

    items: tuple[Excerpt, ...]
    grouped: bool = False
    """Groups are told in the list of labels, rather than guessed from the names of files."""
    report: tuple[bool, ...] | None = None
    """Excerpts of the part `report`, where the user says which they are."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The label of each."""
        return tuple(item.label for item in self.items)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each."""
        return tuple(item.group for item in self.items)

    def digest(self) -> str:
        """sha256, in hex, over the files' own, and over stretches, labels and groups; not over folders."""
        known = {path: sha256_of(path) for path in dict.fromkeys(item.path for item in self.items)}
        digest = hashlib.sha256()
        for item in self.items:
            words = (known[item.path], f"{item.start:.6f}", f"{item.seconds:.6f}", item.label or "", item.group)
            digest.update("\0".join((*words, "")).encode())
        return digest.hexdigest()

    def reported(self, folder: Path) -> Excerpts:
        """These excerpts, those in a folder as the part `report`.

        Raises:
            AudioError: none of them is in it, or all.
        """
        flags = tuple(folder.resolve() in item.path.resolve().parents for item in self.items)
        if all(flags) or not any(flags):
            raise AudioError(
                f"{'all' if all(flags) else 'none'} of these {len(self)} clips are in {folder}; name a folder that "
                "holds some of them, to report on"
            )
        return replace(self, report=flags)

    def with_report(self, report: Excerpts) -> Excerpts:
        """These excerpts as the part `find`, and `report` as the other.

        Raises:
            AudioError: a file is in both.
        """
        both = {item.path.resolve() for item in self.items} & {item.path.resolve() for item in report.items}
        if both:
            raise AudioError(
                f"{min(both).name} is in both parts ({len(both)} such files); name each file in one of them only"
            )
        flags = (False,) * len(self) + (True,) * len(report)
        return replace(self, items=self.items + report.items, grouped=self.grouped and report.grouped, report=flags)


def excerpts_of(audio: Sequence[str | Path]) -> Excerpts:
    """Excerpts of at most 30 s of audio files, without labels; the files of a recording, by their names, are a group.

    Args:
        audio: folders, files, or `.txt` lists of them.

    Raises:
        AudioError: there is no audio, or a file is not audio.
    """
    files = list_audio(audio)
    return Excerpts(tuple(item for path in files for item in _pieces(path, 0.0, None, None, recording_of(path))))


def excerpts_from_csv(path: str | Path, root: str | Path | None = None) -> Excerpts:
    """Excerpts that a CSV names in its columns `file,label[,group][,start,end]`.

    With `start` and `end`, in seconds, a row is that stretch of its file, and a file may have several rows; otherwise
    it is the whole file. Rows of one file are in one group, whatever the column says.

    Args:
        path: the CSV, UTF-8, with a header.
        root: the folder that its files are relative to; None takes the CSV's own.

    Raises:
        AudioError: the CSV cannot be used, names files that are not there, or gives a stretch that is none.
    """
    path = Path(path)
    root, rows = label_rows(path, root)
    grouped = all(row.get("group") for row in rows)
    of_file: dict[Path, str] = {}
    items: list[Excerpt] = []
    seen: dict[tuple[Path, float, float | None], str] = {}
    for number, row in enumerate(rows, 2):
        file = root / row["file"]
        start, end = (_seconds(row.get(column, ""), column, path, number) for column in ("start", "end"))
        label = row["label"].strip()
        if not label:
            raise AudioError(
                f"{path} has no label in line {number}, for {row['file']}; give one, or leave the line out"
            )
        if seen.setdefault((file, start or 0.0, end), label) != label:
            raise AudioError(f"{path} gives {row['file']} two labels (line {number}); keep one")
        group = of_file.setdefault(file, row["group"].strip() if grouped else recording_of(file))
        if (start or 0.0) >= (math.inf if end is None else end):
            raise AudioError(f"{path} has a stretch that ends before it begins, in line {number}: {start} to {end} s")
        items += _pieces(file, start or 0.0, end, label, group)
    return Excerpts(tuple(dict.fromkeys(items)), grouped)


def _seconds(text: str, column: str, path: Path, number: int) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise AudioError(f"{path} has {text!r} as {column} in line {number}; expected seconds from 0 on, such as 1.25")
    return value


def _pieces(path: Path, start: float, end: float | None, label: str | None, group: str) -> list[Excerpt]:
    """Excerpts of at most 30 s of a stretch of a file, without a rest that is too short."""
    whole = length(path, str(path)).seconds
    stop = whole if end is None else min(end, whole)
    if start >= stop:
        raise AudioError(f"{path.name} lasts {whole:.3g} s, and a stretch of it is to begin at {start:g} s; correct it")
    count = max(math.ceil((stop - start - SHORTEST) / LONGEST), 1)
    starts = [start + LONGEST * i for i in range(count)]
    return [Excerpt(path, each, min(LONGEST, stop - each), label, group) for each in starts]
