"""Pictures of a discovery report, as base64 PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.activations.capture import frames_of, residuals
from ...data.audio import SAMPLE_RATE
from ...data.windows import Window, read_window
from ...evaluate.drawing import INK, MUTED, base64_of, new_figure, png_of
from ...io.progress import Tell
from ...models.families.whisper_mel import Pad, mel
from ...sae.autoencoder import SAE
from .results import ContrastResult, Feature

WITH, WITHOUT = "#b3471e", "#1f5fa8"
CLIPS = 3
"""Clips that a feature is shown on."""
SECONDS = 10.0
"""Most of a clip that is drawn, round the feature's peak."""


class _Shown(NamedTuple):
    """Spectrogram and activations of a clip."""

    spectrum: NDArray[np.float32]
    """(n_mels, spectrogram frames), of the clip alone."""
    activations: NDArray[np.float32]
    """(frames, shown features), of the clip alone."""
    seconds: float


def of_scores(found: ContrastResult) -> str:
    """Scores of the probe on held-out clips of both kinds: histograms, and every clip as a tick below."""
    figure = _figure(5.4, _tall(found))
    axis, rug = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [6, 1]})
    labels = found.rows.labels[found.rows.held]
    edges = np.linspace(*_span(found.scores), 25)
    for kind, colour, name, at in ((True, WITH, "with", 1), (False, WITHOUT, "without", 0)):
        own = found.scores[labels == kind]
        axis.hist(own, edges, color=colour, alpha=0.55, label=f"{name} the concept ({len(own)})")
        rug.plot(own, np.full(len(own), at), "|", color=colour, markersize=10)
    for part in (axis, rug):
        part.axvline(0, color=MUTED, linewidth=1, linestyle=":")
    rug.set_ylim(-0.7, 1.7)
    rug.set_yticks([0, 1], ["without", "with"])
    rug.set_xlabel("log odds of the probe")
    axis.set_ylabel("held-out clips")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_title(
        f"AUC {found.probe.auc:.3f} [{found.probe.low:.3f}, {found.probe.high:.3f}]", fontsize=11, loc="left"
    )
    axis.legend(frameon=False, fontsize=9)
    return _png(figure)


def of_stability(found: ContrastResult) -> str:
    """Stability of the top features, as bars in the order of the table."""
    count = len(found.features)
    figure = _figure(5.4, _tall(found))
    axis = figure.subplots()
    colours = [WITH if feature.weight > 0 else WITHOUT for feature in found.features]
    axis.barh(range(count), [feature.stability for feature in found.features], color=colours, height=0.72)
    names = [str(feature.number) for feature in found.features]
    axis.set_yticks(range(count), names, fontsize=9 if count <= 25 else 6)
    axis.set_ylim(count - 0.4, -0.6)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda share, at: f"{share:.0%}")
    axis.grid(axis="x", color="#e3e7ec", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_ylabel("feature")
    axis.set_title(f"again among the top {count}, of {found.settings.resamples} resamples", fontsize=11, loc="left")
    return _png(figure)


def of_features(
    found: ContrastResult, features: Sequence[Feature], model: Any, sae: SAE, layer: int, progress: Tell | None = None
) -> list[str]:
    """Top clips of each feature: spectrogram above, activation below, on one time axis."""
    numbers = [feature.number for feature in features]
    chosen = [_top_rows(found, column) for column in range(len(features))]
    needed = sorted({row for rows in chosen for row in rows})
    shown: dict[int, _Shown] = {}
    for done, row in enumerate(needed):
        if progress is not None:
            progress("encoding for the report", done, len(needed))
        shown[row] = _read(found.rows.clips[row], found.rows.pads[row], numbers, model, sae, layer)
    pictures = []
    typical = None if sae.typical is None else sae.typical.float().cpu().numpy()
    for column, (feature, rows) in enumerate(zip(features, chosen, strict=True)):
        usual = None if typical is None else float(typical[feature.number])
        pictures.append(_feature(found, feature, rows, [shown[row] for row in rows], column, usual))
    if progress is not None:
        progress("encoding for the report", len(needed), len(needed))
    return pictures


def _top_rows(found: ContrastResult, column: int) -> list[int]:
    """Rows where a feature peaks highest, each of another recording as far as there are so many."""
    order = [int(row) for row in np.argsort(-found.peaks[:, column], kind="stable") if found.peaks[row, column] > 0]
    rows: list[int] = []
    for same in (lambda row: found.rows.groups[row], lambda row: found.rows.clips[row]):
        for row in order:
            if len(rows) < CLIPS and same(row) not in {same(other) for other in rows}:
                rows.append(row)
    return rows


def _read(clip: Window, pad: Pad, numbers: list[int], model: Any, sae: SAE, layer: int) -> _Shown:
    samples = read_window(clip)
    row = residuals(model, [samples], [layer], pad)[layer][0]
    with torch.no_grad():
        f = sae.encode(row)[:, numbers]
    spectrum = mel(model, [samples])[0].float().cpu().numpy()
    seconds = len(samples) / SAMPLE_RATE
    kept = frames_of(len(samples), len(f))
    return _Shown(spectrum[:, : max(int(seconds * 100), 1)], f[:kept].float().cpu().numpy(), seconds)


def _feature(
    found: ContrastResult, feature: Feature, rows: list[int], shown: list[_Shown], column: int, typical: float | None
) -> str:
    figure = _figure(10.2, 2.9)
    axes = figure.subplots(2, CLIPS, squeeze=False, sharey="row", gridspec_kw={"height_ratios": [1.7, 1]})
    colour = WITH if feature.weight > 0 else WITHOUT
    top = 1.08 * max([float(one.activations[:, column].max()) for one in shown], default=0.0) or 1.0
    for place in range(CLIPS):
        above, below = axes[0, place], axes[1, place]
        if place >= len(rows):
            above.axis("off")
            below.axis("off")
            continue
        clip, one = found.rows.clips[rows[place]], shown[place]
        kind = "with" if found.rows.labels[rows[place]] else "without"
        above.imshow(
            one.spectrum, origin="lower", aspect="auto", cmap="magma", extent=(0, one.seconds, 0, len(one.spectrum))
        )
        above.set_yticks([])
        above.tick_params(labelbottom=False)
        above.set_title(_title(clip, kind), fontsize=9, color=INK, parse_math=False)
        values = one.activations[:, column]
        times = (np.arange(len(values)) + 0.5) * one.seconds / len(values)
        below.fill_between(times, values, color=colour, alpha=0.35, linewidth=0, step="mid")
        below.plot(times, values, color=colour, linewidth=0.9, drawstyle="steps-mid")
        if typical is not None and typical < top:
            below.axhline(typical, color=MUTED, linewidth=0.8, linestyle="--")
        below.set_ylim(0, top)
        start = min(max(float(times[values.argmax()]) - SECONDS / 2, 0.0), max(one.seconds - SECONDS, 0.0))
        for axis in (above, below):
            axis.set_xlim(start, min(start + SECONDS, one.seconds))
        below.set_xlabel("seconds")
    if rows:
        axes[0, 0].set_ylabel("mel bands")
        axes[1, 0].set_ylabel("activation")
    return _png(figure)


def _title(clip: Window, kind: str) -> str:
    name = clip.path.name if len(clip.path.name) <= 30 else clip.path.stem[:28] + "…"
    return f"{clip.path.parent.name}/{name} · {kind}" + (f" · from {clip.start // SAMPLE_RATE} s" if clip.start else "")


def _tall(found: ContrastResult) -> float:
    """Height of the two pictures side by side, in inches: bars have to stay apart."""
    return min(max(3.5, 0.8 + 0.17 * len(found.features)), 12.0)


def _span(scores: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(scores.min()), float(scores.max())
    return (low, high) if high > low else (low - 1, high + 1)


def _figure(width: float, height: float) -> Any:
    return new_figure(width, height, extra="train")


def _png(figure: Any) -> str:
    return base64_of(png_of(figure))
