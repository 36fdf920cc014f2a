"""Inline SVG without colours of its own, and curves in words: `parts.css` gives the colours, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
RUNS_NAMED = 4
"""Stretches of firing that are told one by one."""
GAP = 0.1
"""Seconds of silence that are told as one stretch with what is around them."""


def curve_in_words(curve: Numbers, rate: float, at: float | None = None) -> str:
    """Text alternative of an activation curve (frames,): "fires from 1.2 to 2.6 s, at most 8.1 at 1.9 s"."""
    on = np.flatnonzero(curve > 0)
    if not len(on):
        return "does not fire"
    breaks = np.flatnonzero(np.diff(on) > max(GAP * rate, 1)) + 1
    runs = [(part[0] / rate, (part[-1] + 1) / rate) for part in np.split(on, breaks)]
    told = [
        f"from {start:.1f} to {stop:.1f} s" if stop - start >= GAP else f"at {start:.1f} s"
        for start, stop in runs[:RUNS_NAMED]
    ]
    if len(runs) > RUNS_NAMED:
        last = len(runs) - RUNS_NAMED
        told.append(f"{last} more time{'' if last == 1 else 's'} until {runs[-1][1]:.1f} s")
    listed = told[0] if len(told) == 1 else ", ".join(told[:-1]) + " and " + told[-1]
    peak = float(curve.max())
    place = float(np.argmax(curve)) / rate if at is None else at
    return f"fires {listed}, at most {number(peak)} at {place:.1f} s"


def number(value: float) -> str:
    """A value in three digits that count, without an exponent where it has a plain form."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{digits}f}" if digits <= 6 else f"{value:.1e}"


def percent(share: float) -> str:
    """A share as a percentage: `0.8 %`, `< 0.01 %`."""
    if 0 < share < 1e-4:
        return "< 0.01 %"
    return f"{100 * share:.2f} %" if share < 0.01 else f"{100 * share:.1f} %"


def curve_svg(curve: Numbers, top: float, columns: int = 120) -> Markup:
    """A small curve of 120 × 40 to lay over a picture; decoration, since words stand beside it.

    Args:
        curve: activation (frames,).
        top: activation at the upper edge.
        columns: points that are drawn at most; each is the highest of its frames.
    """
    values = np.maximum(curve, 0) if len(curve) else np.zeros(1)
    count = min(columns, len(values))
    heights = np.maximum.reduceat(values, np.arange(count) * len(values) // count) / (top if top > 0 else 1.0)
    levels = (39 - 37 * np.minimum(heights, 1)).round(1)
    flat = levels == 39
    # of a stretch of silence, its two ends are enough
    inner = np.r_[False, flat[:-2] & flat[1:-1] & flat[2:], False] if count > 2 else np.zeros(count, bool)
    places = ((np.arange(count) + 0.5) * 120 / count).round(1)
    kept = zip(places[~inner].tolist(), levels[~inner].tolist(), strict=True)
    points = " ".join(f"{x:g},{y:g}" for x, y in kept)
    return Markup(
        '<svg class="curve" viewBox="0 0 120 40" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<polygon points="0,40 {points} 120,40"/><polyline class="halo" points="{points}"/>'
        f'<polyline points="{points}"/></svg>'
    )


def histogram_svg(counts: Sequence[int] | NDArray[np.uint32], edges: Numbers, title: str) -> Markup:
    """Histogram of activations on logarithmic axes both ways, 320 × 120, cropped to the bins that are filled.

    Args:
        counts: per bin (n,).
        edges: of the bins (n + 1,), equal steps of their logarithm.
        title: text alternative.
    """
    values = np.asarray(counts, np.float64)
    filled = np.flatnonzero(values)
    if not len(filled):
        return Markup('<p class="quiet">It never fires.</p>')
    first, last = max(int(filled[0]) - 1, 0), min(int(filled[-1]) + 2, len(values))
    shown = np.log10(1 + values[first:last])
    width = 320 / len(shown)
    bars = "".join(
        f'<rect x="{i * width + 0.5:.1f}" y="{100 - 94 * each / shown.max():.1f}" width="{max(width - 1, 0.6):.1f}" '
        f'height="{94 * each / shown.max():.1f}"/>'
        for i, each in enumerate(shown)
        if each > 0
    )
    marks = []
    low, high = float(np.log2(edges[first])), float(np.log2(edges[last]))
    step = 1 if high - low <= 5 else 2 if high - low <= 10 else 4
    for power in range(math.ceil(low), math.floor(high) + 1):
        x = (power - low) / (high - low) * 320
        if power % step == 0 and 8 <= x <= 312:
            marks.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="100" y2="104"/>')
            marks.append(f'<text x="{x:.1f}" y="116" text-anchor="middle">{2.0**power:g}</text>')
    return Markup(
        '<svg class="histogram" viewBox="0 0 320 120" role="img" aria-label="{title}">{bars}'
        '<line x1="0" x2="320" y1="100" y2="100"/>{marks}</svg>'
    ).format(title=title, bars=Markup(bars), marks=Markup("".join(marks)))


def interval_svg(value: float, low: float, high: float, top: float) -> Markup:
    """A point with its interval on a logarithmic axis around 1, 120 × 16; decoration beside the numbers."""
    span = max(math.log2(max(top, 2.0)), 1.0)

    def place(number: float) -> float:
        return 60 + 56 * min(max(math.log2(max(number, 2.0**-span)) / span, -1.0), 1.0)

    return Markup(
        '<svg class="interval" viewBox="0 0 120 16" aria-hidden="true" focusable="false">'
        '<line class="one" x1="60" x2="60" y1="0" y2="16"/>'
        f'<line x1="{place(low):.1f}" x2="{place(high):.1f}" y1="8" y2="8"/>'
        f'<circle cx="{place(value):.1f}" cy="8" r="3.5"/></svg>'
    )


def share_svg(share: float) -> Markup:
    """A bar of 64 × 8 for a share between 0.001 % and 100 %, on a logarithmic axis; decoration beside the number."""
    filled = 64 * min(max((math.log10(max(share, 1e-5)) + 5) / 5, 0.0), 1.0) if share > 0 else 0.0
    return Markup(
        '<svg class="share" viewBox="0 0 64 8" aria-hidden="true" focusable="false">'
        f'<rect class="rest" width="64" height="8" rx="2"/><rect width="{filled:.1f}" height="8" rx="2"/></svg>'
    )
