"""Figures of matplotlib without a window, and the PNG that they become: the same bytes for the same picture."""

from __future__ import annotations

import base64
import io
from typing import Any

from ..errors import MissingExtraError

INK, MUTED, GRID = "#1c2430", "#5b6675", "#e3e7ec"
"""Colours of text, of what stands back, and of grid lines."""
DPI = 120


def new_figure(width: float, height: float, *, extra: str) -> Any:
    """An empty figure of that size in inches, white, which lays itself out.

    Args:
        width: inches.
        height: inches.
        extra: extra of this package that brings matplotlib, for the message.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"the report needs matplotlib; run: pip install 'audiosae-steer[{extra}]'") from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any) -> bytes:
    """The figure as PNG, with quiet axes."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=MUTED)
        for text in (axis.xaxis.label, axis.yaxis.label):
            text.set_fontsize(9)
            text.set_color(MUTED)
    file = io.BytesIO()
    # the date that matplotlib writes would make two runs differ
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def base64_of(content: bytes) -> str:
    """Bytes as text for a data URI."""
    return base64.b64encode(content).decode("ascii")
