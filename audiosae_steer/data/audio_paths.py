"""Paths of audio files, from folders, files and lists of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import AudioError
from ..io.paths import local
from .audio import audio_files

MAX_LISTS = 10
"""Depth to which lists of audio may name lists."""


def list_audio(sources: Sequence[str | Path]) -> list[Path]:
    """Files of `sources`: folders, files, and `.txt` lists of either, one a line, relative to the list.

    Raises:
        AudioError: there is no audio, a path does not exist or cannot be read, or a list is not text or names itself.
    """
    return list(dict.fromkeys(_listed(sources, ())))


def _listed(sources: Sequence[str | Path], within: tuple[Path, ...]) -> list[Path]:
    """Files of `sources`; `within` are the lists that are being read."""
    files: list[Path] = []
    for source in sources:
        path = local(source, AudioError)
        if path.suffix == ".txt":
            if len(within) == MAX_LISTS or path.resolve() in within:
                raise AudioError(f"{path} is a list that names itself, or lists of lists; name the folders and files")
            files += _listed(_lines(path), (*within, path.resolve()))
        elif path.is_file():
            files.append(path)
        else:
            files += audio_files(path)
    if not files:
        raise AudioError("no audio to read; name at least one folder or file")
    return files


def _lines(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise AudioError(f"cannot read the list {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise AudioError(f"the list {path} is not text in UTF-8 ({error.reason}); save it as such") from error
    return [path.parent / line for line in lines if line and not line.startswith("#")]


def recording_of(path: Path) -> str:
    """The recording that a file is a piece of, by its name: "rain_2" is one of "rain", "1-4211-B" of "1-4211".

    ESC-50 puts a class after the piece ("1-4211-B-14"). Pieces of one recording belong on one side of every split.
    """
    return re.sub(r"(-[A-Z](-\d+)?|[_-]\d+)$", "", path.stem)
