"""Settings of `analyse_all`, and what it keeps of each analysis beside the results themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...errors import SteeringError
from ...io.files import write_atomic
from ..comparisons.comparison_records import Headline

FORMAT = 1
"""Version of the list's JSON."""
LIST = "gallery.json"
"""Name of the list in the folder of results."""


@dataclass(frozen=True, kw_only=True)
class GallerySettings:
    """Settings of `analyse_all`."""

    quick: bool = False
    """Run on fewer clips, permutations and draws, as the page then says."""
    only: tuple[str, ...] = ()
    """Analyses to run, by name; repeatable; default: all."""
    most_clips: int = field(default=60, metadata={"min": 2})
    """Most clips with --quick."""
    min_frames: int | None = None
    """Frames on which a feature has to fire; default: as each analysis has it."""
    min_clips: int | None = None
    """Clips in which it has to; default: as each analysis has it."""
    seed: int = 0
    """Seed of all analyses, and of the choice of clips."""


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """One analysis of a gallery."""

    name: str
    """Its command, and the stem of its files."""
    status: Literal["done", "not run"]
    why: str = ""
    """Reason that it was not run, one sentence."""
    title: str = ""
    """Title of its page."""
    headline: Headline | None = None
    """The number to go by, beside its null and controls."""
    figures: tuple[tuple[str, str], ...] = ()
    """All headline numbers of its page, and what they say."""
    warnings: tuple[str, ...] = ()
    """Sentences to know before the numbers."""
    in_sample: bool = False
    """Figures are of the clips that were chosen and fitted on."""
    reduced: tuple[tuple[str, str, str], ...] = ()
    """Settings that `quick` reduced: name, default and what it was run with."""
    seconds: float = 0.0
    """Time that it took, on a clock."""
    cpu_seconds: float = 0.0
    """The same of the processor, in this process."""
    key: str | None = None
    """sha256 over its data, settings and this package's version; a result of the same key is not made again."""
    sha256: str = ""
    """Of its JSON."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Analyses that were run on the same data, and those that it could not bear."""

    format: int = FORMAT
    """Version of the JSON."""
    version: str
    """Version of this package."""
    model: str
    """Family of the model."""
    site: str
    clips: int
    clips_given: int
    """Clips before `quick` took fewer."""
    groups: int
    """Speakers or recordings."""
    labels: tuple[str, ...]
    """Labels of the clips."""
    quick: bool
    encoding_seconds: float = 0.0
    """Time of the processor to read the clips' residuals, in this run; 0 if there was nothing to run."""
    rows: tuple[GalleryRow, ...] = ()

    @property
    def done(self) -> tuple[GalleryRow, ...]:
        """Analyses with a result."""
        return tuple(row for row in self.rows if row.status == "done")

    @property
    def cpu_seconds(self) -> float:
        """Time of the processor, of all analyses and of reading the residuals."""
        return self.encoding_seconds + sum(row.cpu_seconds for row in self.rows)

    def of(self, name: str) -> GalleryRow:
        """The row of an analysis. KeyError: there is none."""
        return {row.name: row for row in self.rows}[name]

    def to_json(self) -> str:
        """The list as JSON; it holds times, which differ from run to run."""
        text: str = _adapter().dump_json(self, indent=1).decode()
        return text + "\n"

    def write(self, folder: Path) -> None:
        """Write the list into the folder of results, atomically."""
        write_atomic(folder / LIST, self.to_json(), SteeringError)


def read_gallery(folder: Path) -> Gallery | None:
    """The list in a folder of results; None if there is none that this version reads."""
    from pydantic import ValidationError

    try:
        found: Gallery = _adapter().validate_json((folder / LIST).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.format == FORMAT else None


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Gallery)
