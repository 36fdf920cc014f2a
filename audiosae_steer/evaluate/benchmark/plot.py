"""Picture of the benchmark: text on noise against word error rate, every arm a point or a curve."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import MissingExtraError
from ...io.files import atomic_file
from .arms import LABELS
from .results import BenchResults

TITLES = {
    "timed": "with timestamps",
    "untimed": "without timestamps, empty text allowed",
    "untimed-strict": "without timestamps, empty text forbidden",
}
OWN, VAD, PAPERS, PLAIN, INK, MUTED = "#b3471e", "#1f5fa8", "#6b7280", "#15803d", "#1c2430", "#5b6675"
COLOURS = {
    "unsteered": INK, "contrast": OWN, "learned": OWN, "clip-gated": OWN, "frame-gated": OWN, "both-gated": OWN,
    "dense": "#c98a2b", "gate-alone": PLAIN, "no-speech-prob": PLAIN, "avg-logprob": PLAIN, "vad": VAD,
    "vad-ours": VAD,
}  # fmt: skip
MARKERS = {
    "unsteered": "X", "learned": "o", "contrast": "v", "dense": "D", "clip-gated": "*", "frame-gated": "P",
    "both-gated": "h", "gate-alone": "s", "no-speech-prob": "^", "avg-logprob": "<", "vad": "o", "vad-ours": "*",
    "audiosae-max": "s", "audiosae-mean": "d", "typical-shift": "^", "mean-difference": "v", "reconstruction": "p",
    "random": "o",
}  # fmt: skip
NEAR, LEAST = 0.1, 0.01
"""Ends of the linear part of either axis, which is logarithmic beyond: points of WER, and share of clips."""


class Point(NamedTuple):
    """One arm in the picture."""

    curve: str
    label: str
    x: float
    """Change of WER in points, each utterance's errors capped at its words."""
    y: float
    """Share of clips without speech that get text."""
    marked: bool


def points(found: BenchResults, mode: str) -> list[Point]:
    """The points of a mode, in the order of tables."""
    chosen = []
    for name, row in (found.clips or {})[mode].items():
        wer = row.speech.wer
        if wer is None:
            continue
        arm, hits = found.arms[name], row.noise.text.after
        x, y = 100 * wer.capped_change.value, hits.hits / max(hits.clips, 1)
        chosen.append(Point(arm.curve, arm.label, x, y, arm.marked))
    draws = found.random.get(mode)
    if draws is not None and draws.capped_change is not None:
        chosen.append(Point("random", LABELS["random"], 100 * draws.capped_change.mean, draws.text.mean, True))
    return chosen


def draw_front(found: BenchResults, path: Path) -> Path:
    """Write the PNG, a panel for each mode, and return its path.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the picture needs matplotlib; run: pip install 'audiosae-steer[evaluate]'") from error
    panels = {mode: points(found, mode) for mode in found.clips or ()}
    panels = {mode: chosen for mode, chosen in panels.items() if chosen}
    figure = Figure(figsize=(11.5, 1.0 + 6.6 * max(len(panels), 1)), layout="constrained", facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots(max(len(panels), 1), 1, squeeze=False)[:, 0]
    for axis, (mode, chosen) in zip(axes, panels.items(), strict=False):
        _panel(axis, found, mode, chosen)
    data = found.data
    figure.suptitle(
        f"{found.model}: text on {data['absent'].clips} clips without speech, against the change in word error "
        f"rate on {data['present'].with_text} utterances, loops capped\n"
        "better: down and left; large symbols: operating points",
        fontsize=12, color=INK, x=0.01, ha="left",
    )  # fmt: skip
    canvas.draw()  # the layout has to stand before labels find their places
    for axis, chosen in zip(axes, panels.values(), strict=False):
        _label(canvas.get_renderer(), axis, chosen)
    figure.set_layout_engine("none")
    with atomic_file(path) as part:
        figure.savefig(part, dpi=130, format="png", metadata={"Software": None})
    return path


def _panel(axis: Any, found: BenchResults, mode: str, chosen: Sequence[Point]) -> None:
    for curve, group in itertools.groupby(chosen, key=lambda point: point.curve):
        own = list(group)
        colour = COLOURS.get(curve, PAPERS)
        axis.plot([p.x for p in own], [p.y for p in own], "-", color=colour, linewidth=1.1, alpha=0.65, zorder=2)
        for marked, size in ((False, 22), (True, 190 if MARKERS.get(curve) == "*" else 95)):
            some = [p for p in own if p.marked == marked]
            style = {"edgecolor": "white", "linewidth": 0.7, "zorder": 4 if marked else 3, "clip_on": False}
            axis.scatter(
                [p.x for p in some], [p.y for p in some], size, color=colour, marker=MARKERS.get(curve, "o"), **style
            )
    axis.set_xscale("symlog", linthresh=NEAR, linscale=0.6)
    axis.set_yscale("symlog", linthresh=LEAST, linscale=0.5)
    most = max(p.x for p in chosen)
    axis.set_xlim(min(-0.15, 1.6 * min(p.x for p in chosen)), max(2.0, 2.2 * most))
    axis.set_ylim(-0.0015, 1.6)
    ticks = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    axis.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
    low, high = axis.get_xlim()
    across = [t for t in (-30, -10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30, 100, 300) if low <= t <= high]
    axis.set_xticks(across, [f"{tick:+g}" if tick else "0" for tick in across])
    axis.minorticks_off()
    axis.axvline(0, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
    axis.grid(color="#e8ebef", linewidth=0.8, zorder=0)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=MUTED, labelsize=9)
    base = (found.clips or {})[mode]["unsteered"].speech.wer
    rate = "" if base is None else f" ({base.capped:.1%})"
    what = f"WER, loops capped, against unsteered{rate}, points; linear within ±{NEAR:g}"
    axis.set_xlabel(what, color=MUTED)
    axis.set_ylabel("clips without speech that get text", color=MUTED)
    axis.set_title(TITLES[mode], loc="left", fontsize=11, color=INK)


def _label(renderer: Any, axis: Any, chosen: Sequence[Point]) -> None:
    """A name beside the operating point of each curve: the nearest place that nothing else takes."""
    from matplotlib.patheffects import withStroke

    figure = axis.figure
    scale = figure.dpi / 72
    spots = [tuple(axis.transData.transform((p.x, p.y))) for p in chosen]
    taken = [_box(x, y, 7 * scale, 7 * scale) for x, y in spots]
    crossed = [_box(*spot, 4, 4) for spot in _along(axis, chosen)]
    inside = axis.get_window_extent(renderer)
    named = _named(chosen)
    for point in sorted(named, key=lambda p: (p.y, p.x)):
        x, y = axis.transData.transform((point.x, point.y))
        colour = COLOURS.get(point.curve, PAPERS)
        text = axis.annotate(
            named[point], (point.x, point.y), xytext=(0, 0), textcoords="offset points", fontsize=8.5, color=colour,
            va="center", ha="left", annotation_clip=False, zorder=6,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
        extent = text.get_window_extent(renderer)
        width, height = extent.width, extent.height
        for (dx, dy), blocked in itertools.chain(
            ((place, (*taken, *crossed)) for place in _places(4)), ((place, taken) for place in _places())
        ):
            left = x + dx * scale if dx >= 0 else x + dx * scale - width
            box = (left, y + dy * scale - height / 2, left + width, y + dy * scale + height / 2)
            held = inside.x0 <= box[0] and box[2] <= inside.x1 + 20 and inside.y0 <= box[1] and box[3] <= inside.y1
            if held and not any(_touch(box, other) for other in blocked):
                break
        taken.append(box)
        text.set_position(((box[0] - x) / scale, dy))
        if abs(dx) + abs(dy) > 16:
            near = box[0] if dx >= 0 else box[2]
            end = axis.transData.inverted().transform((near, (box[1] + box[3]) / 2))
            axis.plot([point.x, end[0]], [point.y, end[1]], color=colour, linewidth=0.6, alpha=0.7, zorder=2.5)


def _along(axis: Any, chosen: Sequence[Point]) -> Iterator[tuple[float, float]]:
    """Places on the lines between the points of each curve, in pixels."""
    for _, group in itertools.groupby(chosen, key=lambda point: point.curve):
        ends = [axis.transData.transform((p.x, p.y)) for p in group]
        for (x0, y0), (x1, y1) in itertools.pairwise(ends):
            steps = max(int(max(abs(x1 - x0), abs(y1 - y0)) / 6), 1)
            for step in range(steps + 1):
                yield x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps


def _named(chosen: Sequence[Point]) -> dict[Point, str]:
    """Labels: the operating point of each curve, with its place on it, and the curve's ends."""
    named = {}
    for _, group in itertools.groupby(chosen, key=lambda point: point.curve):
        own = list(group)
        for number, point in enumerate(own):
            end = len(own) > 2 and number in (0, len(own) - 1)
            if point.marked:
                named[point] = point.label
            elif end or len(own) == 2:
                named[point] = point.label.removeprefix(LABELS[point.curve]).strip() or point.label
    return named


def _places(rings: int = 15) -> Iterable[tuple[float, float]]:
    """Offsets in points, near ones first: a name on a line is read more easily than one that is far away."""
    for ring in range(1, rings + 1):
        far = 9.0 * ring
        for dx, dy in ((1, 0), (-1, 0), (0.7, 0.8), (0.7, -0.8), (-0.7, 0.8), (-0.7, -0.8), (0.3, 1.2), (0.3, -1.2)):
            yield dx * far, dy * far


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _touch(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
