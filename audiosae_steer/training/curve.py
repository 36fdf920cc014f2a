"""Curves of a training: figures by step, and their plot."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, MissingExtraError
from ..io.files import write_atomic
from ..sae.quality import Figures
from .settings import TrainSettings

INK, ACCENT, MUTED = "#1c2430", "#b3471e", "#6b7280"


class History:
    """Figures by step, as JSON has them.

    Args:
        rows: figures of an interrupted training.
    """

    def __init__(self, rows: list[dict[str, float]] | None = None) -> None:
        self.rows = list(rows or [])

    def add(self, step: int, figures: Figures, dead: float) -> None:
        """The figures after so many steps, and the share of features that have not fired in training for a while."""
        self.rows.append({"step": step, **figures._asdict(), "not_fired_lately": dead})

    def series(self, name: str) -> tuple[list[float], list[float]]:
        """Steps and values of one figure, without NaN and infinities."""
        pairs = [(row["step"], row[name]) for row in self.rows if math.isfinite(row[name])]
        return [step for step, _ in pairs], [value for _, value in pairs]


def draw_curve(history: History, settings: TrainSettings, path: Path, on: str = "held out") -> Path:
    """Write a PNG atomically, with a panel each for FVU, L0 and silent features over steps.

    Args:
        history: figures by step.
        settings: of the training.
        path: the file.
        on: name of the frames that were measured, for the axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
        CheckpointError: it cannot be written there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "the curve is drawn with matplotlib; run: pip install 'audiosae-steer[train]'"
        ) from error
    figure = Figure(figsize=(8.0, 7.5), layout="constrained", facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    unexplained, sparsity, silent = figure.subplots(3, 1, sharex=True)
    unexplained.plot(*history.series("fvu_near"), color=ACCENT, marker=".", label="without far frames")
    unexplained.plot(*history.series("fvu"), color=INK, marker=".", label="all frames")
    unexplained.set_ylabel(f"FVU, {on}")
    unexplained.set_ylim(0, _top(history))
    sparsity.plot(*history.series("l0"), color=INK, marker=".", label="all frames")
    rms = settings.architecture == "relu-rms"
    aim = f"L1 × {settings.l1:g}" if rms else f"k = {settings.kept}"
    if not rms:
        sparsity.axhline(settings.kept, color=MUTED, linestyle="--", linewidth=1, label=aim)
    sparsity.set_ylabel(f"L0, {on}")
    sparsity.set_ylim(bottom=0)
    silent.plot(*history.series("dead"), color=INK, marker=".", label=f"silent, {on}")
    silent.plot(
        *history.series("not_fired_lately"), color=ACCENT, marker=".", label="not fired in the last 200 batches"
    )
    silent.set_ylabel("share of features")
    silent.set_ylim(0, 1)
    silent.set_xlabel(f"steps of {settings.batch} {'means of frames' if settings.pool == 'mean' else 'frames'}")
    for axes in (unexplained, sparsity, silent):
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    name = f"{settings.architecture}, {settings.n_features} features, {aim}"
    unexplained.set_title(name, loc="left", fontsize=11)
    held = io.BytesIO()
    canvas.print_png(held)
    write_atomic(path, held.getvalue(), CheckpointError)
    return path


def _top(history: History) -> float:
    """Upper limit of the FVU panel, which cuts off the first measurements of a training."""
    values = sorted(value for name in ("fvu", "fvu_near") for value in history.series(name)[1])
    if not values:
        return 1.0
    return min(1.0, max(1.3 * values[int(0.9 * (len(values) - 1))], 0.02))
