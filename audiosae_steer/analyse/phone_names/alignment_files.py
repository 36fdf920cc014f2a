"""Alignments of recordings with their phones, from TextGrids, label files and tables."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ...errors import AudioError
from ..frame.excerpts import Excerpts
from .textgrid import PhoneSpan, read_textgrid, text_of

HTK_UNIT = 1e-7
"""Seconds: HTK counts in 100 ns."""
SUFFIXES = (".textgrid", ".lab", ".csv", ".tsv")
NAMES = ("phone", "label", "text")
"""Columns that may hold the phone."""
ADVICE = "give TextGrids, .lab files, or a CSV with the columns file,start,end,phone"


@dataclass(frozen=True)
class Alignments:
    """Phones of recordings, by the recordings' names without their suffix."""

    by_name: Mapping[str, tuple[PhoneSpan, ...]]

    def of(self, excerpts: Excerpts) -> tuple[tuple[PhoneSpan, ...] | None, ...]:
        """Phones of each excerpt, in seconds of the excerpt; None where there is no alignment.

        A recording's alignment is that whose name, with folders, its path ends with; or else the only one of its file
        name.

        Raises:
            AudioError: none of the excerpts has an alignment, or a name fits several.
        """
        by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        for name in self.by_name:
            by_stem[PurePosixPath(name).name].append(PurePosixPath(name))
        found: list[tuple[PhoneSpan, ...] | None] = []
        for item in excerpts.items:
            parts = item.path.with_suffix("").resolve().parts
            named = by_stem.get(parts[-1], [])
            fitting = [name for name in named if parts[-len(name.parts) :] == name.parts]
            fitting = [max(fitting, key=lambda name: len(name.parts))] if fitting else named
            if len(fitting) > 1:
                raise AudioError(
                    f"{item.path.name} could have {len(fitting)} alignments: {fitting[0]}, {fitting[1]}; name "
                    "them with their folders, as the audio files"
                )
            found.append(_within(self.by_name[str(fitting[0])], item.start, item.seconds) if fitting else None)
        if not any(found):
            raise AudioError(
                f"none of these {len(excerpts)} clips has an alignment among {len(self.by_name)}; name alignments as "
                "the audio files"
            )
        return tuple(found)


def read_alignments(paths: str | Path | Sequence[str | Path], *, tier: str | None = None) -> Alignments:
    """Alignments of files, and of all such files in folders.

    TextGrids in the long and the short text form; `.lab` files of HTK (start and end in 100 ns, or in seconds where
    they have a decimal point) and of Festival (`end number phone`, after a line `#`); CSV and TSV tables with the
    columns `start`, `end`, in seconds, `phone` (or `label`), and `file`; without `file` a table is of the recording
    whose name it bears.

    Args:
        paths: files and folders.
        tier: tier of the TextGrids; see `read_textgrid`.

    Raises:
        AudioError: there is nothing to read, a file cannot be used, or a recording has two alignments.
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found: dict[str, tuple[PhoneSpan, ...]] = {}
    for path in map(Path, given):
        files = _files(path)
        root = path if path.is_dir() else path.parent
        for file in files:
            for name, spans in _read(file, file.relative_to(root), tier).items():
                if name in found:
                    raise AudioError(f"{name} has two alignments, the second in {file.name}; keep one")
                found[name] = tuple(sorted(spans))
    if not found:
        raise AudioError(f"there are no alignments to read; {ADVICE}")
    return Alignments(found)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not path.is_file():
        raise AudioError(f"there are no alignments at {path}; {ADVICE}")
    if path.suffix.lower() not in SUFFIXES:
        raise AudioError(f"{path.name} is no alignment that can be read; {ADVICE}")
    return [path]


def _read(file: Path, relative: Path, tier: str | None) -> dict[str, tuple[PhoneSpan, ...]]:
    """Alignments of one file, by recording."""
    own = relative.with_suffix("").as_posix()
    suffix = file.suffix.lower()
    if suffix == ".textgrid":
        return {own: read_textgrid(file, tier)}
    if suffix == ".lab":
        return {own: _lab(file)}
    return _table(file, own)


def _lab(path: Path) -> tuple[PhoneSpan, ...]:
    lines = [line.split() for line in text_of(path).splitlines() if line.strip()]
    ended = next((number for number, words in enumerate(lines) if words[0] == "#"), None)
    try:
        if ended is not None:  # Festival's, whose lines have ends alone
            ends = [float(words[0]) for words in lines[ended + 1 :]]
            names = [words[2] if len(words) > 2 else "" for words in lines[ended + 1 :]]
            return tuple(PhoneSpan(*times, name) for times, name in zip(pairwise([0.0, *ends]), names, strict=True))
        whole = all("." not in word for words in lines for word in words[:2])
        unit = HTK_UNIT if whole else 1.0
        return tuple(
            PhoneSpan(_time(words[0]) * unit, _time(words[1]) * unit, words[2] if len(words) > 2 else "")
            for words in lines
        )
    except (ValueError, IndexError) as error:
        raise AudioError(
            f"{path.name} is no label file: {error}; expected lines 'start end phone' (HTK, in 100 ns), or Festival's"
        ) from error


def _table(path: Path, own: str) -> dict[str, tuple[PhoneSpan, ...]]:
    text = text_of(path)
    reader = csv.DictReader(text.splitlines(), delimiter="\t" if "\t" in text.partition("\n")[0] else ",")
    columns = list(reader.fieldnames or [])
    name = next((each for each in NAMES if each in columns), None)
    if name is None or not {"start", "end"} <= set(columns):
        raise AudioError(f"{path.name} has the columns {', '.join(columns) or 'none'}; expected [file,]start,end,phone")
    found: dict[str, list[PhoneSpan]] = defaultdict(list)
    for number, row in enumerate(reader, 2):
        file = (row["file"] or "") if "file" in columns else own
        try:
            span = PhoneSpan(_time(row["start"]), _time(row["end"]), (row[name] or "").strip())
        except ValueError as error:
            raise AudioError(f"{path.name} has no times in line {number}: {error}; expected seconds") from error
        if span.end < span.start:
            raise AudioError(f"{path.name} has a phone that ends before it begins, in line {number}; correct it")
        found[PurePosixPath(file).with_suffix("").as_posix() if "file" in columns else own].append(span)
    return {file: tuple(spans) for file, spans in found.items()}


def _time(word: str | None) -> float:
    """A time. ValueError: it is none."""
    value = float(word or "")
    if not math.isfinite(value):
        raise ValueError(f"{word!r} is no time")
    return value


def _within(spans: Sequence[PhoneSpan], start: float, seconds: float) -> tuple[PhoneSpan, ...]:
    """Those of a stretch, in seconds of it."""
    return tuple(
        PhoneSpan(span.start - start, span.end - start, span.phone)
        for span in spans
        if span.end > start and span.start < start + seconds
    )
