"""Windows of audio with labels: whether they have a concept, from folders or a CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import AudioError, SteeringError
from .audio_paths import list_audio, recording_of
from .windows import Window, windows_of

Groups = Literal["recording", "file"]
Sources = Sequence[str | Path]


class LabelledWindow(NamedTuple):
    """A window with its group and its label."""

    window: Window
    group: str
    """Its recording: all windows of a group are on one side of the split."""
    present: bool | None
    """It has the concept; None where the model is to tell."""


def from_folders(present: Sources, absent: Sources, groups: Groups = "recording") -> list[LabelledWindow]:
    """Windows of the clips in `present`, which have the concept, and in `absent`, which lack it.

    Args:
        present: folders, files, or `.txt` lists of them.
        absent: likewise.
        groups: `recording` keeps pieces of one recording together, told by their names; `file` takes each file alone.

    Raises:
        AudioError: there is no audio, a file is not audio, or it is on both sides.
    """
    sides = [list_audio(present), list_audio(absent)]
    both = {path.resolve() for path in sides[0]} & {path.resolve() for path in sides[1]}
    if both:
        raise AudioError(
            f"{min(both).name} is among the clips with the concept and among those without ({len(both)} such files); "
            "list each file on one side only"
        )
    return [
        LabelledWindow(window, _group(window.path, groups), flag)
        for files, flag in zip(sides, (True, False), strict=True)
        for window in windows_of(files)
    ]


def unlabelled(sources: Sources, groups: Groups = "recording") -> list[LabelledWindow]:
    """Windows of the clips in `sources`, without labels; see `from_folders`."""
    return [LabelledWindow(window, _group(window.path, groups), None) for window in windows_of(list_audio(sources))]


def from_csv(
    path: str | Path, root: str | Path | None = None, positive: str | None = None, groups: Groups = "recording"
) -> list[LabelledWindow]:
    """Windows of the clips that a CSV names in its columns `file`, `label` and optionally `group`.

    Args:
        path: the CSV, UTF-8, with a header.
        root: the folder that its files are relative to; None takes the CSV's own.
        positive: the label of the clips with the concept; all others are without. None wants labels 1 and 0.
        groups: as in `from_folders`, where the CSV has no column `group`.

    Raises:
        AudioError: the CSV lacks a column or a label, or names files that are not there.
    """
    path = Path(path)
    root, rows = label_rows(path, root)
    flags = _flags([row["label"] for row in rows], positive, path)
    known: dict[Path, bool] = {}
    for row, flag in zip(rows, flags, strict=True):
        if known.setdefault(root / row["file"], flag) != flag:
            raise AudioError(f"{path} gives {row['file']} two labels; keep one")
    named = {root / row["file"]: row.get("group") or _group(root / row["file"], groups) for row in rows}
    return [LabelledWindow(window, named[window.path], known[window.path]) for window in windows_of(list(known))]


def label_rows(path: str | Path, root: str | Path | None = None) -> tuple[Path, list[dict[str, str]]]:
    """Rows of a CSV of labels, by column, and the folder that its files are in; `file` and `label` are there.

    Args:
        path: the CSV, UTF-8, with a header.
        root: the folder that its files are relative to; None takes the CSV's own.

    Raises:
        AudioError: there is no such CSV, it lacks a column, or names files that are not there.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"there is no list of labels at {path}")
    root = path.parent if root is None else Path(root)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise AudioError(f"{path} cannot be read as a CSV in UTF-8 ({error}); export it again") from error
    missing = [column for column in ("file", "label") if column not in columns]
    if missing:
        found = ", ".join(columns) or "none"
        raise AudioError(f"{path} has no column {missing[0]!r}; it has {found}, and needs file,label in its first line")
    if not rows:
        raise AudioError(f"{path} names no files; add one a line below file,label")
    unknown = [row["file"] for row in rows if not row["file"] or not (root / row["file"]).is_file()]
    if unknown:
        raise AudioError(
            f"{path} names {len(unknown)} of {len(rows)} files that are not there, the first: {root / unknown[0]}; "
            "name the folder that they are in"
        )
    return root, [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in rows]


def _flags(labels: Sequence[str], positive: str | None, path: Path) -> list[bool]:
    names = sorted({label.strip() for label in labels})
    shown = ", ".join(map(repr, names[:8])) + (", …" if len(names) > 8 else "")
    if positive is None:
        if not set(names) <= {"0", "1"}:
            raise AudioError(
                f"{path} has the labels {shown}; expected 1 and 0, or say which one is looked for (positive)"
            )
        positive = "1"
    elif positive not in names:
        raise AudioError(f"{path} has no label {positive!r}; it has {shown}")
    return [label.strip() == positive for label in labels]


def _group(path: Path, groups: Groups) -> str:
    if groups not in ("recording", "file"):
        raise SteeringError(f"groups is {groups!r}; expected recording or file")
    return recording_of(path) if groups == "recording" else path.resolve().as_posix()
