"""Clips on which a feature is highest, for the stage of a discovery report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.activations.capture import frames_of, residuals
from ...data.audio import SAMPLE_RATE, Samples
from ...data.windows import Window, read_window
from ...evaluate.page_parts.stage_clips import Curve, StageClip, media_of, stage_clip, stretch_of
from ...io.progress import Tell
from ...models.families.whisper_mel import Pad, mel
from ...sae.autoencoder import SAE
from .results import ContrastResult, Feature

CLIPS = 3
"""Clips that a feature is shown on."""
SECONDS = 10.0
"""Most of a clip that is shown, round the feature's peak."""


class _Read(NamedTuple):
    """A clip, and the activations on it."""

    samples: Samples
    picture: NDArray[np.float32]
    """(spectrogram frames, n_mels), of the clip alone."""
    activations: NDArray[np.float32]
    """(frames, shown features), of the clip alone."""
    rate: float
    """Frames per second of them."""


def clips_of_features(
    found: ContrastResult, features: Sequence[Feature], model: Any, sae: SAE, layer: int, progress: Tell | None = None
) -> list[list[StageClip]]:
    """Top clips of each feature: what the model sees of them, and the feature's activation over the same time."""
    numbers = [feature.number for feature in features]
    chosen = [_top_rows(found, column) for column in range(len(features))]
    needed = sorted({row for rows in chosen for row in rows})
    read: dict[int, _Read] = {}
    for done, row in enumerate(needed):
        if progress is not None:
            progress("encoding for the report", done, len(needed))
        read[row] = _read(found.rows.clips[row], found.rows.pads[row], numbers, model, sae, layer)
    if progress is not None:
        progress("encoding for the report", len(needed), len(needed))
    clips = []
    for column, rows in enumerate(chosen):
        top = max([float(read[row].activations[:, column].max(initial=0.0)) for row in rows], default=0.0)
        clips.append([_clip(found, row, read[row], (numbers[column], column), top) for row in rows])
    return clips


def _top_rows(found: ContrastResult, column: int) -> list[int]:
    """Rows where a feature peaks highest, each of another recording as far as there are so many."""
    order = [int(row) for row in np.argsort(-found.peaks[:, column], kind="stable") if found.peaks[row, column] > 0]
    rows: list[int] = []
    for same in (lambda row: found.rows.groups[row], lambda row: found.rows.clips[row]):
        for row in order:
            if len(rows) < CLIPS and same(row) not in {same(other) for other in rows}:
                rows.append(row)
    return rows


def _read(clip: Window, pad: Pad, numbers: list[int], model: Any, sae: SAE, layer: int) -> _Read:
    samples = read_window(clip)
    row = residuals(model, [samples], [layer], pad)[layer][0]
    with torch.no_grad():
        f = sae.encode(row)[:, numbers]
    spectrum = mel(model, [samples])[0].T.float().cpu().numpy()
    seconds = len(samples) / SAMPLE_RATE
    kept = frames_of(len(samples), len(f))
    return _Read(samples, stretch_of(spectrum, 0.0, seconds), f[:kept].float().cpu().numpy(), kept / seconds)


def _clip(found: ContrastResult, row: int, one: _Read, feature: tuple[int, int], top: float) -> StageClip:
    """The stretch round the peak of a feature, given as its number and its column."""
    clip, (number, column) = found.rows.clips[row], feature
    values, seconds = one.activations[:, column], len(one.samples) / SAMPLE_RATE
    peak = (int(values.argmax()) + 0.5) / one.rate
    start = min(max(peak - SECONDS / 2, 0.0), max(seconds - SECONDS, 0.0))
    length = min(SECONDS, seconds - start)
    first, sample = round(start * one.rate), int(start * SAMPLE_RATE)
    media = media_of(
        one.samples[sample : sample + int(length * SAMPLE_RATE)], picture=stretch_of(one.picture, start, length)
    )
    shown = values[first : first + max(round(length * one.rate), 1)].astype(float)
    kind = "with" if found.rows.labels[row] else "without"
    begins = clip.start / SAMPLE_RATE + start
    words = f"feature {number}; a clip {kind} the concept" + (f"; from {begins:.1f} s" if begins else "")
    name = f"{clip.path.parent.name}/{clip.path.name}"
    return stage_clip(f"{number}-{row}", name, media, Curve(shown, one.rate, top), words=words, top=top)
