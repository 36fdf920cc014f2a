"""Tables, pictures, headline numbers and moments to hear: what a result shows to people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Table(NamedTuple):
    """Rows of numbers for people to read."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    """A sentence that explains them."""

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.header, tuple("---" if i == 0 else "---:" for i in range(len(self.header))), *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join(part for part in (f"### {self.title}", body, self.note) if part)


class Picture(NamedTuple):
    """A picture of a result."""

    title: str
    alt: str
    """Its content in words, for those who do not see it."""
    draw: Callable[[Any], None]
    """Draws into a figure of matplotlib, or into a part of one."""
    width: float = 7.0
    """Inches."""
    height: float = 3.5


class Figure(NamedTuple):
    """A headline number."""

    value: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A stretch of a clip that is worth hearing."""

    clip: int
    """Number of the clip in the data."""
    name: str
    """Its file."""
    start: float
    """Seconds into the clip."""
    seconds: float
    says: str
    """Reason to hear it."""


class Sound(NamedTuple):
    """A sound that an analysis made, for its page."""

    name: str
    says: str
    """Its properties, in words."""
    samples: NDArray[np.float64]
    """(n,)."""
    rate: int
    """Hz."""
