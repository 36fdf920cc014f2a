"""Features that fire on a clip of the user's own, ranked by surprise, with curves; and what the gates decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...analyse.frame.codes import fires
from ...data.activations.by_clip import clip_residuals, takes_whole_windows
from ...data.activations.capture import capture_residuals, frames_of
from ...data.audio import Samples
from ...evaluate.transcription.gate_windows import gate_record
from ...models.families.whisper_mel import encoder_path, mel
from ...models.registry import family_of, frame_rate_at, unwrap
from ...models.sites import Site
from ...steering.gates import FrameProbe, Probe
from ...steering.opening import readers
from ...steering.recipes.schema import Recipe, site_of
from ...steering.steering import Steering, steer
from ..index.index_reader import Index
from .live_model import LiveModel
from .steered_texts import noted

WINDOW_SECONDS = 30.0
TIMELINE = 12
"""Features with a curve."""
LISTED = 60
"""Features in the list."""


class HeardFeature(NamedTuple):
    """A feature that fires on the clip."""

    feature: int
    label: str
    peak: float
    at: float
    """Seconds of the peak."""
    share: float
    """Of the clip's frames on which it fires."""
    surprise: float
    """Bits: −log2 of the share of the corpus's frames on which it is about as high as its peak here."""
    corpus_peak: float
    """Highest activation on the corpus."""
    curve: NDArray[np.float32] | None
    """(frames,) of the first `TIMELINE`."""


class GateCurve(NamedTuple):
    """A gate of a recipe over the clip."""

    recipe: str
    kind: str
    threshold: float
    scores: NDArray[np.float32]
    """(frames,): of frame and timestamp gates the score; of a clip gate the same weights at each frame, while its score
    pools each feature over the window."""
    windows: tuple[dict[str, Any], ...]
    """Decision for each window, as `gate_record` writes it."""


class Heard(NamedTuple):
    """Features of a layer on a clip, and the gates."""

    layer: int
    rate: float
    """Frames per second."""
    seconds: float
    fired: int
    """Number of features that fire."""
    features: list[HeardFeature]
    gates: list[GateCurve]
    notes: tuple[str, ...]


def heard(live: LiveModel, index: Index, layer: int, samples: Samples) -> Heard:
    """The features of a layer that fire on a clip, the most surprising first, and the gates of shipped recipes.

    Surprise is −log2(n / N): N frames of the corpus, n of them on which the feature is in the same bin of its
    histogram as its peak here, or in a higher one, at least 1. Among features of equal surprise the one is first whose
    peak is highest beside its highest on the corpus, to a tenth of that; and then the one that fires longest.

    Args:
        live: the index's model.
        index: the corpus.
        layer: of the index.
        samples: mono, at the rate that the model takes.

    Raises:
        SiteError, RecipeError, SteeringError: the model, its SAE and the index do not go together.
    """
    inner: Any = unwrap(live.model())
    site, sae = live.site(layer), live.sae(layer)
    family = family_of(inner)
    rate = frame_rate_at(inner, family, site) or live.layer(layer).rate
    peaks, places, counts, pieces = _peaks(inner, site, sae, samples)
    frames = sum(len(piece) for piece in pieces)
    firing = np.flatnonzero(counts)
    surprise = index.surprise(layer, firing, peaks[firing])
    table = index.table(layer)
    known = np.zeros(len(peaks))
    known[table.feature] = table.peak
    beside = np.round(peaks[firing] / np.maximum(known[firing], 1e-9), 1)
    order = firing[np.lexsort((firing, -peaks[firing], -counts[firing], -beside, -surprise))]
    bits = dict(zip(firing.tolist(), surprise.tolist(), strict=True))
    labels = dict(zip(table.feature.tolist(), table.label, strict=True))
    curves = _curves(sae, pieces, order[:TIMELINE])
    features = [
        HeardFeature(
            int(i), labels.get(int(i), ""), float(peaks[i]), float(places[i] / rate), float(counts[i] / max(frames, 1)),
            float(bits[int(i)]), float(known[i]), curves[:, n] if n < TIMELINE else None,
        )
        for n, i in enumerate(order[:LISTED])
    ]  # fmt: skip
    with noted() as notes:
        gates = list(_gates(live, inner, samples)) if family.takes_windows else []
    if live.other_weights():
        notes.append("this model's weights are others than those that the index was made with")
    return Heard(
        layer, float(rate), len(samples) / family.sample_rate(inner), len(firing), features, gates, tuple(notes)
    )


def _windows(model: Any, site: Site, samples: Samples) -> list[Samples]:
    """A clip in the pieces that the model takes at once."""
    if not takes_whole_windows(model, site):
        return [samples]
    step = round(WINDOW_SECONDS * family_of(model).sample_rate(model))
    return [samples[start : start + step] for start in range(0, len(samples), step)]


def _peaks(
    model: Any, site: Site, sae: Any, samples: Samples
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], list[Tensor]]:
    """Peaks (F,), the frames (F,) of them, the numbers (F,) of frames with firing; and the residuals, by window."""
    peaks, places = np.zeros(sae.n_features), np.zeros(sae.n_features, np.int64)
    counts, pieces, before = np.zeros(sae.n_features, np.int64), list[Tensor](), 0
    for window in _windows(model, site, samples):
        (x,) = clip_residuals(model, site, [window])
        with torch.no_grad():
            f = sae.encode(x).float()
        active = fires(sae, f)
        highest, where = (f * active).max(0)
        higher = highest.numpy() > peaks
        peaks[higher], places[higher] = highest.numpy()[higher], where.numpy()[higher] + before
        counts += active.sum(0).numpy()
        pieces.append(x)
        before += len(x)
    return peaks, places, counts, pieces


def _curves(sae: Any, pieces: Sequence[Tensor], features: NDArray[np.int64]) -> NDArray[np.float32]:
    """Activations (frames, n) of a few features; all are computed once more rather than kept."""
    found = []
    for x in pieces:
        with torch.no_grad():
            f = sae.encode(x).float()[:, torch.from_numpy(features)]
        found.append(torch.where(fires(sae, f), f, 0).numpy())
    return np.asarray(np.concatenate(found), np.float32)


def _gates(live: LiveModel, model: Any, samples: Samples) -> Iterator[GateCurve]:
    """Gates of the shipped recipes, each once: two recipes may have the same."""
    gated = [recipe for recipe in live.recipes() if recipe.gates]
    if not gated:
        return
    sites = list(dict.fromkeys(site_of(spec) for recipe in gated for spec in recipe.gates))
    with ExitStack() as stack:
        # at strength 0 gates decide, and nothing is changed
        steerings = [stack.enter_context(steer(model, recipe, strength=0.0)) for recipe in gated]
        scores: dict[tuple[int, str], list[NDArray[np.float32]]] = {}
        decided: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for number, window in enumerate(_windows(model, sites[0], samples)):
            # padded as the library's own loop does, so that decisions are those of a transcription
            spectrum = mel(model, [window], "zeros" if hasattr(model, "dims") else "silence")
            found = capture_residuals(model, sites, model.get_submodule(encoder_path(model)), spectrum)
            seconds = len(window) / family_of(model).sample_rate(model)
            for row, steering in enumerate(steerings):
                for kind, values in _scores(steering, found, seconds).items():
                    scores.setdefault((row, kind), []).append(values)
                for event in steering.events:
                    decided.setdefault((row, event.kind), []).append(_record(event, number, seconds))
                steering.events.clear()
    seen: list[tuple[str, bytes]] = []
    for (row, kind), parts in scores.items():
        curve = np.concatenate(parts)
        if (kind, curve.tobytes()) not in seen:
            seen.append((kind, curve.tobytes()))
            windows = tuple(decided.get((row, kind), ()))
            yield GateCurve(gated[row].name, kind, _threshold(gated[row], kind), curve, windows)


def _scores(steering: Steering, found: dict[Site, Tensor], seconds: float) -> dict[str, NDArray[np.float32]]:
    """Score of each gate at each frame of sound of one window."""
    scores = {}
    for site, hook in steering.hooks.items():
        probes: Any = readers([hook])  # type: ignore[list-item]
        for kind, probe in probes.items():
            x = found[site]
            with torch.no_grad():
                if isinstance(probe, Probe):
                    values = (probe.read(x) @ probe.weights + probe.gate.bias)[0]
                elif isinstance(probe, FrameProbe):
                    values = (FrameProbe.forward(probe, x) + probe.threshold)[0]
            frames = min(frames_of(round(seconds * 16_000), len(values)), len(values))
            scores[kind] = values[:frames].float().cpu().numpy()
    return scores


def _record(event: Any, number: int, seconds: float) -> dict[str, Any]:
    """A decision with its times in the whole clip, cut at the end of the sound."""
    before = number * WINDOW_SECONDS
    found = gate_record(event)
    spans = [[before + a, before + min(b, seconds)] for a, b in event.spans if a < seconds]
    return {**found, "start": before, "end": before + seconds, "spans": spans}


def _threshold(recipe: Recipe, kind: str) -> float:
    fields = {"clip": recipe.gate, "frame": recipe.frame_gate, "timestamp": recipe.timestamp_gate}
    gate = fields[kind]
    return 0.0 if gate is None else gate.threshold
