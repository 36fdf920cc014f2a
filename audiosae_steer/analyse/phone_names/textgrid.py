"""TextGrids of Praat, in the long and the short text form (Praat manual, "TextGrid file formats")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import AudioError

TOKEN = re.compile(r'"(?:[^"]|"")*"|![^\n]*|\S+')
"""A text in quotes, in which a quote is doubled; a comment; or anything else up to white space."""
FLAG = "<exists>"


class PhoneSpan(NamedTuple):
    """A stretch of sound with its label."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    phone: str
    """The label as it was read."""


def read_textgrid(path: Path, tier: str | None = None) -> tuple[PhoneSpan, ...]:
    """Intervals of one tier of a TextGrid; empty texts are kept, they are silence.

    Args:
        path: the file, UTF-8 or UTF-16.
        tier: name of the tier, in any case; None: the one named `phones`, `phone` or `segments`, or the only one.

    Raises:
        AudioError: it is no TextGrid in a text form, or it has no such tier of intervals.
    """
    text = text_of(path)
    tokens = _values(text)
    try:
        kinds = (next(tokens), next(tokens))
        if kinds != ("ooTextFile", "TextGrid"):
            raise AudioError(
                f"{path.name} is no TextGrid in Praat's text form; save it by 'Save as text file' or 'short text file'"
            )
        next(tokens), next(tokens)
        exists = next(tokens) == FLAG
        tiers = list(_tiers(tokens, int(next(tokens)))) if exists else []
    except (StopIteration, RuntimeError, ValueError) as error:
        raise AudioError(f"{path.name} is a damaged TextGrid: it ends or breaks off within a tier") from error
    return _chosen(path, dict(tiers), tier)


def text_of(path: Path) -> str:
    """Text of a file in UTF-8 or, with a byte order mark, UTF-16. AudioError: it is neither, or cannot be read."""
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AudioError(f"{path} cannot be read as text ({error}); save it in UTF-8") from error


def _values(text: str) -> Iterator[str]:
    """Values of the file in order: texts in quotes, freestanding numbers and flags; all other words are comments."""
    for found in TOKEN.findall(text):
        if found.startswith('"'):
            yield found[1:-1].replace('""', '"')
        elif found == FLAG or re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", found):
            yield found


def _tiers(tokens: Iterator[str], count: int) -> Iterator[tuple[str, tuple[PhoneSpan, ...] | None]]:
    """Name and intervals of each tier; None of a tier of points."""
    for _ in range(count):
        kind, name = next(tokens), next(tokens)
        next(tokens), next(tokens)
        size = int(next(tokens))
        if kind == "IntervalTier":
            yield name, tuple(PhoneSpan(float(next(tokens)), float(next(tokens)), next(tokens)) for _ in range(size))
        else:
            for _ in range(2 * size):
                next(tokens)
            yield name, None


def _chosen(path: Path, tiers: dict[str, tuple[PhoneSpan, ...] | None], tier: str | None) -> tuple[PhoneSpan, ...]:
    wanted = ("phones", "phone", "segments") if tier is None else (tier.lower(),)
    of_intervals = {name: spans for name, spans in tiers.items() if spans is not None}
    # forced aligners that know of several speakers write "speaker - phones"
    named = [spans for name, spans in of_intervals.items() if name.lower().rpartition(" - ")[2] in wanted]
    if tier is None and not named and len(of_intervals) == 1:
        named = list(of_intervals.values())
    if len(named) != 1:
        there = ", ".join(map(repr, of_intervals)) or "none"
        raise AudioError(
            f"{path.name} has {len(named)} tiers of intervals that could be the phones; it has {there}; name one"
        )
    return named[0]
