"""Base of the analyses' results: JSON, Markdown, a page and a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

from ...errors import SteeringError
from ...evaluate.drawing import new_figure, png_of
from ...evaluate.page_parts.stage_clips import Curve
from ...io.files import write_atomic
from .excerpts import Excerpts
from .presented import Figure, Moment, Picture, Sound, Table
from .provenance import Provenance
from .result_page import page_of


@dataclass(frozen=True, kw_only=True)
class Outcome(ABC):
    """Result of an analysis: a frozen record whose fields are documented.

    A subclass adds fields of plain types (numbers, texts, None, tuples, NamedTuples and frozen dataclasses of such) and
    says what is printed and drawn of them.
    """

    TITLE: ClassVar[str]
    """Title of its page."""
    CLAIM: ClassVar[str]
    """A sentence or two for its page: what is measured, and against what."""

    provenance: Provenance
    """Model, SAEs, data, settings, seed and warnings."""

    @abstractmethod
    def figures(self) -> Sequence[Figure]:
        """Headline numbers, each with what stands against it."""

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """Tables, the most important first."""

    @abstractmethod
    def pictures(self) -> Sequence[Picture]:
        """Pictures, the most important first."""

    @property
    def title(self) -> str:
        """Title of this result's page: that of its analysis, or one that says what it is of."""
        return self.TITLE

    def moments(self) -> Sequence[Moment]:
        """Stretches of clips that the page lets its reader hear."""
        return ()

    def moment_curve(self, moment: Moment) -> Curve | None:
        """Activation over a moment; None: it is seen and heard alone."""
        return None

    def to_json(self) -> str:
        """The result as JSON, which `from_json` reads; equal results give equal bytes. NaN becomes null."""
        text: str = _adapter(type(self)).dump_json(self, indent=1).decode()
        return text + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The result that `to_json` wrote.

        Raises:
            SteeringError: it is not such JSON, or of another format.
        """
        from pydantic import ValidationError

        try:
            found: Self = _adapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the text"
            raise SteeringError(
                f"this is no result of {cls.__name__}: {where}: {first['msg']}; give JSON that its to_json() wrote"
            ) from error
        if found.provenance.format != Provenance.format:
            raise SteeringError(
                f"this result is of format {found.provenance.format}, and this version reads {Provenance.format}; run "
                "the analysis again"
            )
        return found

    def table(self) -> str:
        """All tables in Markdown, after the warnings."""
        warned = [f"> {warning}" for warning in self.provenance.warnings]
        return "\n\n".join(["\n>\n".join(warned)] * bool(warned) + [each.markdown() for each in self.tables()]) + "\n"

    def report(self, path: str | Path, audio: Excerpts | Sequence[Sound] | None = None) -> Path:
        """Write one self-contained HTML page atomically, and return its path.

        Args:
            path: the file, .html.
            audio: the clips of the analysis, for the page's sounds; or sounds that it made; None: no sound.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        shown = (self.figures(), self.tables(), self.pictures(), self.moments() if audio is not None else ())
        page = page_of((self.title, self.CLAIM), self.provenance, *shown, audio=audio, traced=self.moment_curve)
        write_atomic(path, page, SteeringError)
        return Path(path)

    def png(self, path: str | Path) -> Path:
        """Write the pictures as one PNG atomically, below each other, and return its path.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        shown = list(self.pictures())
        figure = new_figure(max(each.width for each in shown), sum(each.height for each in shown), extra="analyse")
        parts = figure.subfigures(len(shown), 1, height_ratios=[each.height for each in shown], squeeze=False)
        for part, each in zip(parts[:, 0], shown, strict=True):
            each.draw(part)
        write_atomic(path, png_of(figure), SteeringError)
        return Path(path)


@cache
def _adapter(kind: type[Any]) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
