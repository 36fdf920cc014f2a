"""Metadata of audio files (transcript, speaker, label) from tables beside them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import AudioError
from .metadata import FILES, GROUPS, LABELS, TEXTS, ClipMetadata

TABLES = ("text.tsv", "text.csv", "labels.csv", "labels.tsv", "metadata.csv")
"""Tables with a header: columns with a file's name, relative to the table, and its metadata."""
TRANS = ".trans.txt"
"""LibriSpeech's: lines of a file's name without its ending, a space, and the text."""


def is_table(name: str) -> bool:
    """Tell whether a file of that name is a table of metadata."""
    base = name.rsplit("/", 1)[-1]
    return base in TABLES or base.endswith(TRANS)


def transcripts(files: Sequence[Path], folders: Iterable[Path]) -> dict[Path, ClipMetadata]:
    """Metadata of `files` from the tables in `folders`; files that no table names are left out.

    Raises:
        AudioError: a table cannot be read, has no column of file names, or names none of the files.
    """
    wanted = {_normal(file): file for file in files} | {_normal(file.with_suffix("")): file for file in files}
    found: dict[Path, ClipMetadata] = {}
    for folder in dict.fromkeys(folders):
        for table in sorted(path for path in folder.iterdir() if is_table(path.name) and path.is_file()):
            named = {wanted[key]: row for key, row in _rows(table) if key in wanted}
            if not named:
                raise AudioError(
                    f"{table} names none of the audio files that lie beside it; expected names like {files[0].name}, "
                    "relative to the table"
                )
            for file, row in named.items():
                known = found.get(file, ClipMetadata())
                found[file] = ClipMetadata(*(new if old is None else old for old, new in zip(known, row, strict=True)))
    return found


def _rows(table: Path) -> Iterator[tuple[str, ClipMetadata]]:
    """(path of the file, its metadata) for each line of a table."""
    try:
        content = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AudioError(f"{table} is no table in UTF-8 ({error}); save it again as UTF-8 text") from error
    if table.name.endswith(TRANS):
        for line in content.splitlines():
            name, _, text = line.strip().partition(" ")
            if text:
                yield _normal(table.parent / name), ClipMetadata(text=text)
        return
    tabs = table.suffix == ".tsv"
    lines = csv.DictReader(
        content.splitlines(), delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    )
    header = list(lines.fieldnames or [])
    columns = [next((name for name in names if name in header), None) for names in (FILES, TEXTS, LABELS, GROUPS)]
    file, *others = columns
    if file is None:
        raise AudioError(
            f"{table} has no column of file names; expected a header like file,text,speaker "
            f"and found {', '.join(header[:8]) or 'nothing'}"
        )
    try:
        for cells in lines:
            if cells[file]:
                yield (
                    _normal(table.parent / cells[file]),
                    ClipMetadata(None, *(cells.get(c or "") or None for c in others)),
                )
    except csv.Error as error:
        raise AudioError(f"{table} is no table ({error}); expected comma- or tab-separated lines") from error


def _normal(path: Path) -> str:
    return os.path.normpath(path)
