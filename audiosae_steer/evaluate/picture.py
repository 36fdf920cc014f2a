"""One picture of a demo: spectrograms, the text before and after, and what the steered features do meanwhile."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..clip_gate import Probe
from ..discover.collect import mel, residuals
from ..edits import Add, FeatureEdit
from ..errors import MissingExtraError
from ..models.audio import SAMPLE_RATE
from .demo import Demo, Result

ROWS = 12
BEFORE, AFTER, MUTED = "#b3261e", "#1b6e3c", "#666666"


def draw(demo: Demo, model: Any, path: str | Path, *, clips: int = 5) -> Path:
    """Write a PNG of a few clips of a demo, and return its path.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the picture needs matplotlib; run: pip install 'audiosae-steer[evaluate]'") from error
    chosen = choose(demo.results, clips)
    features, part = _features(demo)
    figure = Figure(figsize=(3.7 * len(chosen), 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(chosen), squeeze=False, gridspec_kw={"height_ratios": [2.4, 1.5, 2.6]})
    maps = [_activations(demo, model, result, features) for result in chosen]
    top = max((float(m.max()) for m, _ in maps), default=1.0) or 1.0
    for column, (result, (activation, score)) in enumerate(zip(chosen, maps, strict=True)):
        seconds = min(len(result.samples) / SAMPLE_RATE, 30.0)
        _spectrogram(axes[0, column], model, result, seconds)
        _texts(axes[1, column], result, score)
        image = _heat(axes[2, column], activation, features, seconds, top, first=column == 0)
    figure.colorbar(image, ax=axes[2, :].tolist(), label="activation", shrink=0.9, pad=0.01)
    figure.suptitle(f"{demo.recipe.name}, {demo.recipe.model.name}{_headline(demo)}", fontsize=13)
    axes[2, 0].set_ylabel(f"{part} features, {'largest amounts' if len(features) == ROWS else 'all'} first")
    path = Path(path)
    figure.savefig(path, dpi=110)
    return path


def _headline(demo: Demo) -> str:
    if demo.text is None:
        return ""
    before, after = demo.text.before, demo.text.after
    return f": text on {before.hits} of {before.clips} non-speech clips before, on {after.hits} after"


def choose(results: Sequence[Result], count: int) -> list[Result]:
    """A telling few: non-speech clips whose text went away, longest words first, then speech, then the rest."""
    gone = [r for r in results if r.clip.kind == "nonspeech" and r.before.text and not r.after.text]
    gone.sort(key=lambda r: -len(set(r.before.text.lower().split())))
    spoken = [r for r in results if r.clip.kind == "speech"]
    picked = gone[: max(count - 2, 1)] + spoken[:2]
    taken = {id(r) for r in picked}
    rest = [r for r in results if id(r) not in taken]
    return (picked + rest)[:count]


def _features(demo: Demo) -> tuple[list[int], str]:
    weights: dict[int, float] = {}
    spec = demo.recipe.sites[0]
    for edit in spec.build():
        if isinstance(edit, FeatureEdit):
            sizes = edit.amount if isinstance(edit, Add) else (1.0,) * len(edit.features)
            weights |= {i: max(abs(size), weights.get(i, 0.0)) for i, size in zip(edit.features, sizes, strict=True)}
    return sorted(weights, key=lambda i: -weights[i])[:ROWS], f"{spec.side} layer {spec.layer}:"


def _activations(
    demo: Demo, model: Any, result: Result, features: list[int]
) -> tuple[NDArray[np.float32], float | None]:
    spec, gate = demo.recipe.sites[0], demo.recipe.gate
    saes = demo.recipe.load_saes()
    layers = {spec.layer} | ({gate.layer} if gate else set())
    x = residuals(model, [result.samples[: 30 * SAMPLE_RATE]], sorted(layers))
    with torch.no_grad():
        score = float(Probe(gate.build(), saes[gate.sae])(x[gate.layer])) if gate else None
        if spec.sae is None or not features:
            return np.zeros((1, x[spec.layer].shape[1]), dtype=np.float32), score
        f = saes[spec.sae].encode(x[spec.layer])[0][:, features]
    return f.T.float().numpy(), score


def _spectrogram(axis: Any, model: Any, result: Result, seconds: float) -> None:
    spectrum = mel(model, [result.samples[: 30 * SAMPLE_RATE]])[0].float().numpy()[:, : int(seconds * 100)]
    axis.imshow(spectrum, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, spectrum.shape[0]))
    axis.set_title(f"{result.clip.label}" + (f" ({result.clip.kind})" if result.clip.kind else ""), fontsize=11)
    axis.set_yticks([])
    axis.set_ylabel("mel bands")
    axis.label_outer()


def _texts(axis: Any, result: Result, score: float | None) -> None:
    axis.axis("off")

    def shown(text: str) -> str:
        return textwrap.fill(textwrap.shorten(text, 90, placeholder=" …"), 36) if text else "(nothing)"

    axis.text(0, 1.0, "before", color=BEFORE, fontsize=9, weight="bold", va="top", transform=axis.transAxes)
    axis.text(0, 0.86, shown(result.before.text), fontsize=10, va="top", transform=axis.transAxes)
    axis.text(0, 0.44, "after", color=AFTER, fontsize=9, weight="bold", va="top", transform=axis.transAxes)
    axis.text(0, 0.30, shown(result.after.text), fontsize=10, va="top", transform=axis.transAxes)
    if score is not None:
        state = "open: edited" if score > 0 else "shut: left alone"
        axis.text(
            1,
            1.0,
            f"gate {state} ({score:+.1f})",
            color=MUTED,
            fontsize=9,
            va="top",
            ha="right",
            transform=axis.transAxes,
        )


def _heat(
    axis: Any, activation: NDArray[np.float32], features: list[int], seconds: float, top: float, first: bool
) -> Any:
    shown = activation[:, : max(int(seconds * 50), 1)]
    image = axis.imshow(shown, aspect="auto", cmap="viridis", vmin=0, vmax=top, extent=(0, seconds, len(shown), 0))
    axis.set_xlabel("seconds")
    axis.set_yticks(np.arange(len(features)) + 0.5 if first else [], features if first else [], fontsize=8)
    return image
