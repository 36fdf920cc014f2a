"""Clip and frame gates of one encoder layer, fitted on some clips, with thresholds placed on others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.acoustics import mixture
from ...data.audio import SAMPLE_RATE, WINDOW, Samples
from ...errors import GateError
from ...evaluate.transcription.from_residuals import encode
from ...io.progress import track
from ...models.families.whisper_mel import Pad
from ...sae.autoencoder import SAE
from ...steering.gates import ClipGate, FrameGate, frame_features, gate_features
from ..learning.targets import PADS
from .probe import Matrix, fit_frame_gate, fit_gate, set_threshold
from .settings import ClipGateSettings, FrameGateSettings

FRAME = 320
"""Samples of a frame of the encoder: 20 ms."""
QUIET = 30.0
"""Decibels below its loudest frame at which an utterance counts as silent."""
NEAR = 10
"""Frames round a loud one that count as spoken, so that short pauses between words do."""
PADDING = 25
"""Of what fills the 30 s up, which is all alike, a frame in so many is enough."""
CHUNK = 16


class LabelledClips(NamedTuple):
    """Clips of up to 30 s, mono at 16 kHz."""

    absent: Sequence[Samples]
    """Non-speech."""
    present: Sequence[Samples]
    """Speech."""


def make_clip_gate(
    model: Any,
    sae: SAE,
    layer: int,
    fit: LabelledClips,
    place: LabelledClips,
    *,
    settings: ClipGateSettings | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> ClipGate:
    """Clip gate that opens on non-speech, fitted on some clips, its threshold placed on others.

    Every other clip is padded to 30 s with zeros, the rest with silence, as in learning. Give whole clips and brief
    stretches of them (`data.augment`): a gate that knows only sentences takes single words for noise.

    Args:
        model: an openai-whisper model.
        sae: of that layer.
        layer: encoder layer, counted from 1.
        fit: clips to fit on.
        place: clips of other recordings and speakers to place the threshold on.
        settings: margin and budget of the threshold, size and seed of the fit.
        cache: folder for the encoded clips.
        progress: show progress bars.

    Raises:
        GateError: too few clips, no small set of features tells them apart, or an SAE whose features cannot be
            computed one by one.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or ClipGateSettings()
    absent, present = (_pooled(model, sae, layer, clips, None, cache, progress) for clips in fit)
    gate, _ = fit_gate(absent, present, "max", max_features=settings.max_features, seed=settings.seed)
    absent, present = (_pooled(model, sae, layer, clips, gate.features, cache, progress) for clips in place)
    local = replace(gate, features=tuple(range(len(gate.features))))
    return replace(
        set_threshold(local, absent, present, margin=settings.margin, budget=settings.budget), features=gate.features
    )


def make_frame_gate(
    model: Any,
    sae: SAE,
    layer: int,
    fit: LabelledClips,
    place: LabelledClips,
    *,
    settings: FrameGateSettings | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> FrameGate:
    """Frame gate that opens on non-speech, also within a window that holds speech elsewhere.

    Utterances are put between stretches of sounds without speech, so that it is known which frames hold which. Within
    an utterance, frames are spoken that lie within 0.2 s of one less than 30 dB below the loudest.

    Args:
        model: an openai-whisper model.
        sae: of that layer.
        layer: encoder layer, counted from 1.
        fit: clips to fit on, as recorded.
        place: clips of other recordings and speakers to place the threshold on.
        settings: reach, margin and budget of the threshold, size and seed of the fit.
        cache: folder for the encoded clips.
        progress: show progress bars.

    Raises:
        GateError: too few clips, or no small set of features tells the frames apart.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or FrameGateSettings()
    steps = round(settings.reach * SAMPLE_RATE / FRAME)

    def frames(kinds: LabelledClips, features: Sequence[int] | None, own: int) -> tuple[Matrix, Matrix]:
        rng = np.random.default_rng(own)
        windows = [_between(x, kinds.absent, rng) for x in kinds.present if x.any()]
        windows += [_Window(x[:WINDOW], 0, 0) for x in kinds.absent]
        return _frames(model, sae, layer, windows, steps, features, settings.per_clip, rng, cache, progress)

    if not fit.absent or not fit.present or not place.absent or not place.present:
        raise GateError("a frame gate needs clips without and with speech, to fit it and to place its threshold")
    gate, _ = fit_frame_gate(
        *frames(fit, None, settings.seed), settings.reach, max_features=settings.max_features, seed=settings.seed
    )
    local = replace(gate, features=tuple(range(len(gate.features))))
    absent, present = frames(place, gate.features, settings.seed + 1)
    return replace(
        set_threshold(local, absent, present, margin=settings.margin, budget=settings.budget), features=gate.features
    )


class _Window(NamedTuple):
    samples: Samples
    start: int
    """First sample of the utterance."""
    stop: int
    """The sample after its last; `start` where nobody speaks."""


def _between(x: Samples, noises: Sequence[Samples], rng: np.random.Generator) -> _Window:
    """An utterance with 2 to 5 s without speech before and after it, 0 to 25 dB weaker than it."""
    x = x[: WINDOW - 10 * SAMPLE_RATE]
    sides = []
    for _ in range(2):
        noise = np.resize(noises[int(rng.integers(len(noises)))], int(rng.uniform(2, 5) * SAMPLE_RATE))
        level = float(np.sqrt(np.mean(noise**2)))
        weaker = float(np.sqrt(np.mean(x**2))) * 10 ** (-rng.uniform(0, 25) / 20)
        sides.append((noise * (weaker / level) if level > 0 else noise).astype(np.float32))
    before, after = sides
    if rng.random() < 1 / 3:  # the words themselves are not always clean
        x = mixture(x, before, rng.uniform(5, 20)) if before.any() else x
    whole = np.clip(np.concatenate([before, x, after]), -1, 1).astype(np.float32)
    return _Window(whole, len(before), len(before) + len(x))


def _frames(
    model: Any,
    sae: SAE,
    layer: int,
    windows: Sequence[_Window],
    steps: int,
    features: Sequence[int] | None,
    per_clip: int,
    rng: np.random.Generator,
    cache: Path | None,
    progress: bool,
) -> tuple[Matrix, Matrix]:
    """Features (frames, n) of frames without and with speech."""
    found: tuple[list[Tensor], list[Tensor]] = [], []
    clips = [window.samples for window in windows]
    # every other one filled up in the other way: frames of the padding belong to those without speech
    for turn, pad in enumerate(PADS):
        own = windows[turn :: len(PADS)]
        for rows, window in zip(
            _encoded(model, clips[turn :: len(PADS)], layer, pad, cache, progress), own, strict=True
        ):
            seen = frame_features(sae, rows.float(), features, steps)
            for kept, chosen in zip(found, _sides(window, len(rows), steps), strict=True):
                picked = rng.permutation(chosen)[:per_clip]
                kept.append(seen[torch.from_numpy(np.sort(picked))])
    absent, present = (torch.cat(kept).double().numpy() for kept in found)
    return absent, present


def _sides(window: _Window, frames: int, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the frames without speech, further from it than a frame looks, and of those with it."""
    first, last = window.start // FRAME, min(window.stop // FRAME, frames)
    spoken = np.zeros(frames, bool)
    if last > first:
        power = np.square(window.samples[first * FRAME : last * FRAME].reshape(-1, FRAME)).mean(1)
        loud = first + np.flatnonzero(power >= power.max() * 10 ** (-QUIET / 10))
        for frame in loud:
            spoken[max(frame - NEAR, first) : min(frame + NEAR + 1, last)] = True
    silent = np.ones(frames, bool)
    if last > first:
        silent[max(first - steps, 0) : last + steps + 1] = False
    padding = np.arange(frames) >= len(window.samples) // FRAME
    silent &= ~padding | (np.arange(frames) % PADDING == 0)
    return np.flatnonzero(silent), np.flatnonzero(spoken)


def _pooled(
    model: Any,
    sae: SAE,
    layer: int,
    clips: Sequence[Samples],
    features: Sequence[int] | None,
    cache: Path | None,
    progress: bool,
) -> Matrix:
    """Max-pooled features (clips, n), of the clips filled up in the one way first."""
    if not clips:
        raise GateError("a gate needs clips without and with speech, to fit it and to place its threshold")
    chosen = range(sae.n_features) if features is None else features
    rows = [
        gate_features(sae, row.float()[None], chosen, "max")[0]
        for turn, pad in enumerate(PADS)
        for row in _encoded(model, clips[turn :: len(PADS)], layer, pad, cache, progress)
    ]
    found: Matrix = torch.stack(rows).double().numpy()
    return found


def _encoded(
    model: Any, clips: Sequence[Samples], layer: int, pad: Pad, cache: Path | None, progress: bool
) -> Iterator[Tensor]:
    """Residuals (frames, d_model) of clip after clip; not all at once, which would be gigabytes."""
    starts = range(0, len(clips), CHUNK)
    for start in track(starts, f"what gates read, filled with {pad}", progress and bool(len(starts))):
        yield from (
            row.cpu() for row in encode(model, clips[start : start + CHUNK], layer, pad, cache=cache, progress=False)
        )
