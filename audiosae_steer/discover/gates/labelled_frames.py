"""Frames labelled as speech or non-speech, from windows in which an utterance lies between other sounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.acoustics import mixture
from ...data.audio import SAMPLE_RATE, WINDOW, Samples
from ...evaluate.metrics.logistic_regression import Matrix
from ...steering.gates import frame_features
from ..learning.targets import PADS
from .reader import LayerReader
from .settings import FrameGateSettings

FRAME = 320
"""Samples of a frame of the encoder: 20 ms."""
QUIET = 30.0
"""Decibels below its loudest frame at which a frame of an utterance counts as silent."""
NEAR = 10
"""Frames round a loud one that count as speech, so that short pauses between words do."""
PADDING = 25
"""One frame in so many is taken of the padding, which is all alike."""


class LabelledClips(NamedTuple):
    """Clips of up to 30 s, mono at 16 kHz."""

    absent: Sequence[Samples]
    """Non-speech."""
    present: Sequence[Samples]
    """Speech."""


class MixedWindow(NamedTuple):
    """Samples of up to 30 s, with the place of the one utterance in them."""

    samples: Samples
    start: int
    """First sample of the utterance."""
    stop: int
    """The sample after its last; `start` where there is no speech."""


def mix_window(x: Samples, noises: Sequence[Samples], rng: np.random.Generator) -> MixedWindow:
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
    return MixedWindow(whole, len(before), len(before) + len(x))


def frames_by_kind(window: MixedWindow, frames: int, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the frames without speech, further from it than a frame reaches (`steps`), and of those with it."""
    first, last = window.start // FRAME, min(window.stop // FRAME, frames)
    speech = np.zeros(frames, bool)
    if last > first:
        power = np.square(window.samples[first * FRAME : last * FRAME].reshape(-1, FRAME)).mean(1)
        loud = first + np.flatnonzero(power >= power.max() * 10 ** (-QUIET / 10))
        for frame in loud:
            speech[max(frame - NEAR, first) : min(frame + NEAR + 1, last)] = True
    silent = np.ones(frames, bool)
    if last > first:
        silent[max(first - steps, 0) : last + steps + 1] = False
    padding = np.arange(frames) >= len(window.samples) // FRAME
    silent &= ~padding | (np.arange(frames) % PADDING == 0)
    return np.flatnonzero(silent), np.flatnonzero(speech)


def frame_matrices(
    reader: LayerReader,
    clips: LabelledClips,
    settings: FrameGateSettings,
    seed: int,
    features: Sequence[int] | None = None,
) -> tuple[Matrix, Matrix]:
    """Features (frames, n) of frames without and with speech, each at its largest within reach.

    Args:
        reader: the encoder layer.
        clips: clips as recorded; utterances are put between the others, which are taken by themselves, too.
        settings: reach, and most frames of each kind to take of a window.
        seed: of the windows, and of which frames are taken.
        features: the SAE's features to read; None reads all.
    """
    steps = round(settings.reach * SAMPLE_RATE / FRAME)
    rng = np.random.default_rng(seed)
    windows = [mix_window(x, clips.absent, rng) for x in clips.present if x.any()]
    windows += [MixedWindow(x[:WINDOW], 0, 0) for x in clips.absent]
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for turn, pad in enumerate(PADS):  # frames of the padding are non-speech, whatever it is made of
        own = windows[turn :: len(PADS)]
        residuals = reader.residuals([window.samples for window in own], pad)
        for rows, window in zip(residuals, own, strict=True):
            largest = frame_features(reader.sae, rows.float(), features, steps)
            for kept, positions in zip(found, frames_by_kind(window, len(rows), steps), strict=True):
                picked = rng.permutation(positions)[: settings.per_clip]
                kept.append(largest[torch.from_numpy(np.sort(picked))])
    absent, present = (torch.cat(kept).double().numpy() for kept in found)
    return absent, present
