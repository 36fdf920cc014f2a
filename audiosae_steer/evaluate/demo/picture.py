"""Picture of a demo: spectrograms, texts before and after, and activations of the steered features."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.activations.capture import residuals
from ...data.audio import SAMPLE_RATE
from ...errors import MissingExtraError, SteeringError
from ...io.files import atomic_file
from ...models.families.whisper_mel import Pad, mel
from ...sae.autoencoder import SAE
from ...steering.edits import Add, FeatureEdit
from ...steering.gates import Probe
from ...steering.recipes.schema import Recipe, SiteSpec
from .run import Demo, Result, shortened

ROWS = 12
"""Features shown at most."""
BEFORE, AFTER, MUTED = "#b3261e", "#1b6e3c", "#666666"


def draw(demo: Demo, model: Any, path: str | Path, *, clips: int = 5) -> Path:
    """Write a PNG of a few clips of a demo, and return its path.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SteeringError: the path does not end in .png, or cannot be written.
    """
    path = target(path)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("the picture needs matplotlib; run: pip install 'audiosae-steer[evaluate]'") from error
    chosen = choose(demo.results, clips)
    spec, edited = _features(demo.recipe)
    saes = demo.recipe.load_saes()
    figure = Figure(figsize=(3.7 * len(chosen), 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(chosen), squeeze=False, gridspec_kw={"height_ratios": [2.4, 1.5, 2.6]})
    found = [_activations(saes, demo.recipe, spec, list(edited), model, result) for result in chosen]
    rows = _rows_to_show([m for m, _ in found])
    maps = [(m[rows], score) for m, score in found]
    names = [f"{i}  {done}" for i, done in edited.items()]
    firing = np.concatenate([m[m > 0] for m, _ in maps])
    top = float(np.quantile(firing, 0.95)) if firing.size else 1.0  # a single frame can be ten times all others
    for column, (result, (activation, score)) in enumerate(zip(chosen, maps, strict=True)):
        seconds = min(len(result.samples) / SAMPLE_RATE, 30.0)
        _spectrogram(axes[0, column], model, result, seconds)
        _texts(axes[1, column], result, score)
        image = _heat(
            axes[2, column], activation, [names[i] for i in rows] if names and column == 0 else [], seconds, top
        )
    figure.colorbar(image, ax=axes[2, :].tolist(), label="activation", extend="max", shrink=0.9, pad=0.01)
    title = f"{demo.recipe.name}, {demo.recipe.model.name}{_headline(demo)}"
    figure.suptitle(title, fontsize=13, parse_math=False)
    axes[2, 0].set_ylabel(_ylabel(spec, len(rows), len(edited)))
    with atomic_file(path, SteeringError) as part:
        figure.savefig(part, dpi=110, format="png")
    return path


def target(path: str | Path) -> Path:
    """The path, checked for a picture; to be asked before the work is done.

    Raises:
        SteeringError: it does not end in .png, or its folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise SteeringError(f"the picture {path} cannot be written: its name must end in .png")
    if not path.parent.is_dir():
        raise SteeringError(f"the picture {path} cannot be written: there is no folder {path.parent}")
    return path


def _ylabel(spec: SiteSpec | None, shown: int, edited: int) -> str:
    if spec is None:
        return "no encoder features are edited"
    return f"encoder layer {spec.layer}: {f'{shown} of {edited} ' if shown < edited else ''}edited features"


def _headline(demo: Demo) -> str:
    if demo.text is None:
        return ""
    before, after = demo.text.before, demo.text.after
    return f": text on {before.hits} of {before.clips} non-speech clips before, on {after.hits} after"


def choose(results: Sequence[Result], count: int) -> list[Result]:
    """Results to show: non-speech clips whose text went away, most distinct words first, then speech, then the rest."""
    gone = [r for r in results if r.clip.kind == "nonspeech" and r.before.text and not r.after.text]
    gone.sort(key=lambda r: -len(set(r.before.text.lower().split())))
    spoken = [r for r in results if r.clip.kind == "speech"]
    picked = gone[: max(count - 2, 1)] + spoken[:2]
    taken = {id(r) for r in picked}
    rest = [r for r in results if id(r) not in taken]
    return (picked + rest)[:count]


def _features(recipe: Recipe) -> tuple[SiteSpec | None, dict[int, str]]:
    """The first encoder site whose features are edited, and the edit of each in words, largest amounts first."""
    for spec in recipe.sites:
        weights: dict[int, float] = {}
        done: dict[int, str] = {}
        for edit in spec.build() if spec.side == "encoder" else []:
            if isinstance(edit, FeatureEdit):
                sizes = edit.amount if isinstance(edit, Add) else (1.0,) * len(edit.features)
                verb = type(edit).__name__.lower()
                done |= {
                    i: f"{size * recipe.strength:+.2f}" if isinstance(edit, Add) else verb
                    for i, size in zip(edit.features, sizes, strict=True)
                }
                weights |= {
                    i: max(abs(size), weights.get(i, 0.0)) for i, size in zip(edit.features, sizes, strict=True)
                }
        if weights:
            return spec, {i: done[i] for i in sorted(weights, key=lambda i: -weights[i])}
    return None, {}


def _activations(
    saes: dict[str, SAE], recipe: Recipe, spec: SiteSpec | None, features: list[int], model: Any, result: Result
) -> tuple[NDArray[np.float32], float | None]:
    gate = recipe.gate if recipe.gate is not None and recipe.gate.side == "encoder" else None
    layers = {part.layer for part in (spec, gate) if part is not None}
    pad: Pad = "zeros" if hasattr(model, "dims") else "silence"  # as the library's own transcription does
    x = residuals(model, [result.samples[: 30 * SAMPLE_RATE]], sorted(layers), pad)
    with torch.no_grad():
        score = None if gate is None else float(Probe(gate.build(), saes[gate.sae])(x[gate.layer]))
        if spec is None or spec.sae is None:
            return np.zeros((1, 1), dtype=np.float32), score
        f = saes[spec.sae].encode(x[spec.layer])[0][:, features]
    frames = max(int(len(result.samples) / SAMPLE_RATE * 50), 1)
    return f.T.float().numpy()[:, :frames], score


def _rows_to_show(maps: Sequence[NDArray[np.float32]]) -> list[int]:
    """Rows that fire anywhere, then others, `ROWS` at most, in their own order."""
    fires = np.any([m.max(axis=1) > 0 for m in maps], axis=0)
    picked = [*np.flatnonzero(fires), *np.flatnonzero(~fires)][:ROWS]
    return sorted(int(i) for i in picked)


def _spectrogram(axis: Any, model: Any, result: Result, seconds: float) -> None:
    spectrum = mel(model, [result.samples[: 30 * SAMPLE_RATE]])[0].float().numpy()[:, : max(int(seconds * 100), 1)]
    axis.imshow(spectrum, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, spectrum.shape[0]))
    title = result.clip.label + (f" ({result.clip.kind})" if result.clip.kind else "")
    axis.set_title(title, fontsize=11, parse_math=False)
    axis.set_yticks([])
    axis.set_ylabel("mel bands")
    axis.label_outer()


def _texts(axis: Any, result: Result, score: float | None) -> None:
    axis.axis("off")

    def write(x: float, y: float, text: str, **style: Any) -> None:
        # "$" is a price in a transcript, and to matplotlib the begin of a formula
        axis.text(x, y, text, va="top", transform=axis.transAxes, parse_math=False, **style)

    def shown(text: str) -> str:
        return textwrap.fill(shortened(text, 90), 36) if text else "(nothing)"

    write(0, 1.0, "before", color=BEFORE, fontsize=9, weight="bold")
    write(0, 0.86, shown(result.before.text), fontsize=10)
    write(0, 0.44, "after", color=AFTER, fontsize=9, weight="bold")
    write(0, 0.30, shown(result.after.text), fontsize=10)
    if score is not None:
        state = "open: edited" if score > 0 else "shut: left alone"
        write(1, 1.0, f"gate {state} ({score:+.1f})", color=MUTED, fontsize=9, ha="right")


def _heat(axis: Any, activation: NDArray[np.float32], names: list[str], seconds: float, top: float) -> Any:
    style = {"aspect": "auto", "cmap": "viridis", "interpolation": "nearest"}  # no feature runs into the next
    image = axis.imshow(activation, vmin=0, vmax=top, extent=(0, seconds, len(activation), 0), **style)
    axis.set_xlabel("seconds")
    axis.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    return image
