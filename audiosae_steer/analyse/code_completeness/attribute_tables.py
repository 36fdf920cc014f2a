"""Attributes of clips as a table: measured from the sound, by openSMILE, or from a CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE
from ...errors import AudioError, SteeringError
from ...io.progress import Tell
from ..frame.excerpts import Excerpts
from .egemaps import LICENCE, egemaps, family_of_functional
from .sound_attributes import FAMILIES, NAMES, attributes_of_sound


@dataclass(frozen=True)
class Attributes:
    """Numbers that describe clips, a column each."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    """(clips, A); NaN where a clip has none."""
    families: tuple[str, ...]
    """Family of each: pitch, loudness, spectrum, formants, quality, rhythm, mfcc, or one's own."""
    source: str = "given"
    """Origin, for the result."""
    warnings: tuple[str, ...] = ()
    """Sentences for the result."""

    @classmethod
    def of(cls, values: Any, names: Sequence[str], families: Sequence[str] | None = None) -> Attributes:
        """Attributes from a matrix (clips, A).

        Args:
            values: the matrix; NaN where a clip has none.
            names: name of each column.
            families: family of each; None: what stands before a colon in its name, or `given`.

        Raises:
            SteeringError: the numbers of columns differ, or a name comes twice.
        """
        table = np.asarray(values, np.float64)
        if families is None:
            families = [name.split(":")[0].strip() if ":" in name else "given" for name in names]
        if table.ndim != 2 or not table.shape[1] == len(names) == len(families) or len(set(names)) < len(names):
            raise SteeringError(
                f"attributes of shape {table.shape} with {len(names)} names cannot be used; give a matrix (clips, A), "
                "A different names, and as many families"
            )
        return cls(tuple(names), table, tuple(families))


def attributes_of(excerpts: Excerpts, kind: str | Path = "free", *, progress: Tell | None = None) -> Attributes:
    """Attributes of excerpts.

    Args:
        excerpts: the clips.
        kind: `free` (31 of our own), `egemaps` (88, by openSMILE, not free for commercial use), or a CSV with the
            columns `file` and one for each attribute, which all excerpts of a file have.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        AudioError: a clip or the CSV cannot be read, or the CSV lacks a clip.
        MissingExtraError: scipy, or openSMILE, is not installed.
    """
    if kind not in ("free", "egemaps"):
        return _from_csv(Path(kind), excerpts)
    if kind == "free":
        names, families = NAMES, tuple(family for family, own in FAMILIES.items() for _ in own)
        warned: tuple[str, ...] = ()
        found: Iterator[NDArray[np.float64]] = (attributes_of_sound(e.read(), SAMPLE_RATE) for e in excerpts.items)
        source = "free: numpy and scipy"
    else:
        names, found = egemaps(excerpts)
        families, warned = tuple(map(family_of_functional, names)), (LICENCE,)
        source = "eGeMAPSv02 by openSMILE"
    rows = []
    for number, row in enumerate(found):
        if progress is not None:
            progress("measuring attributes", number, len(excerpts))
        rows.append(row)
    if progress is not None:
        progress("measuring attributes", len(excerpts), len(excerpts))
    return Attributes(names, np.stack(rows), families, source, warned)


def _from_csv(path: Path, excerpts: Excerpts) -> Attributes:
    if not path.is_file():
        raise AudioError(f"there is no list of attributes at {path}; expected free, egemaps or a CSV")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, names = list(reader), [name for name in reader.fieldnames or [] if name != "file"]
            known = {row["file"]: [_number(row[name]) for name in names] for row in rows}
    except (UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise AudioError(
            f"{path} is no CSV of attributes ({error}); expected a column file and columns of numbers"
        ) from error
    found = []
    for item in excerpts.items:
        parts = item.path.resolve().parts
        names_of = ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)] + [str(item.path)]
        row = next((known[name] for name in reversed(names_of) if name in known), None)
        if row is None:
            raise AudioError(f"{path} has no line for {item.path.name}; add one, or leave the clip out")
        found.append(row)
    made = Attributes.of(found, names)
    split = len({item.path for item in excerpts.items}) < len(excerpts)
    warned = ("several clips are of one file, and have that file's attributes",) if split else ()
    return Attributes(made.names, made.values, made.families, f"CSV {path.name}", warned)


def _number(text: str) -> float:
    return float(text) if text.strip() else float("nan")
