"""Quality of an SAE on frames of sound: FVU, the paper's normalised L2, L0, and features that are alive.

AudioSAE (arXiv 2602.05027) reports the L2 of residuals of unit norm, ‖x − x̂‖² / ‖x‖², and the share of features that
are alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...evaluate.drawing import GRID
from ..frame.intervals import Interval
from ..frame.outcome import Outcome
from ..frame.presented import Figure, Picture, Table
from .quality_records import AlivePoint, ControlQuality


@dataclass(frozen=True, kw_only=True)
class Quality(Outcome):
    """Reconstruction and use of an SAE's features on frames of sound."""

    TITLE: ClassVar[str] = "Quality: what is left over, and which features are alive"
    CLAIM: ClassVar[str] = (
        "The fraction of variance unexplained (FVU) is the squared error over that of the mean frame. The papers' "
        "normalised L2 is the squared error over the frame's own squared norm: it falls wherever a frame is far from "
        "zero, so that the mean frame alone may look good by it. Features alive are those that have fired within so "
        "many frames."
    )

    fvu: float
    """Σ ‖x − x̂‖² / Σ ‖x − mean‖², of all frames."""
    interval: Interval | None
    """95 % of it, groups drawn with replacement."""
    l2: float
    """Mean over frames of ‖x − x̂‖² / ‖x‖², the paper's."""
    l2_interval: Interval | None
    l0: float
    """Features that fire on a frame, on average."""
    features: int
    frames: int
    alive: tuple[AlivePoint, ...]
    """Share of features that have fired within so many frames."""
    controls: tuple[ControlQuality, ...]
    """The mean frame, and dictionaries in the SAE's place."""

    @property
    def silent(self) -> float:
        """Share of features that never fire on these frames."""
        return 1 - self.alive[-1].share

    def figures(self) -> Sequence[Figure]:
        """FVU, normalised L2 beside the mean frame's, and silent features."""
        mean = self.controls[0]
        around = ("" if each is None else f", 95 %: {each}" for each in (self.interval, self.l2_interval))
        return [
            Figure(f"{self.fvu:.3f}", f"of the variance is left over (FVU){next(around)}"),
            Figure(f"{self.l2:.3f}", f"normalised L2{next(around)}; the mean frame alone has {mean.l2:.3f}"),
            Figure(f"{self.l0:.1f}", f"of {self.features} features fire on a frame"),
            Figure(f"{self.silent:.1%}", f"of the features never fire on these {self.frames} frames"),
        ]

    def tables(self) -> Sequence[Table]:
        """The SAE beside controls, and the curve of features that are alive."""
        rows = [("SAE", f"{self.fvu:.4f}", f"{self.l2:.4f}", f"{self.l0:.1f}")]
        rows += [(each.name, f"{each.fvu:.4f}", f"{each.l2:.4f}", f"{each.l0:.1f}") for each in self.controls]
        note = "FVU of the mean frame is 1 by its definition; its normalised L2 shows how little that number asks."
        first = Table("Reconstruction", ("", "FVU", "normalised L2", "L0"), tuple(rows), note)
        lines = tuple((f"{p.frames}", f"{p.share:.4f}", f"{p.low:.4f} to {p.high:.4f}") for p in self.alive)
        return [first, Table("Features alive within", ("frames", "share", "orders of the clips"), lines)]

    def pictures(self) -> Sequence[Picture]:
        """Features alive by number of frames."""
        alt = "Line: share of features that have fired, by number of frames; the table has the numbers"
        return [Picture("Features alive", alt, self._draw)]

    def _draw(self, figure: Any) -> None:
        axis = figure.subplots()
        frames = [point.frames for point in self.alive]
        axis.fill_between(frames, [p.low for p in self.alive], [p.high for p in self.alive], alpha=0.15, lw=0)
        axis.plot(frames, [p.share for p in self.alive], color="#1f5fa8", marker="o", markersize=4)
        axis.set_xscale("log")
        axis.set_ylim(0, 1.02)
        axis.grid(color=GRID, linewidth=0.8)
        axis.set_xlabel("frames")
        axis.set_ylabel("share of features that have fired")
