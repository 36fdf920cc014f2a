"""Latents whose features carry pitch, loudness and centroid, as planted, with the labels that a sound would have."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiosae_steer import SAE
from audiosae_steer.analyse import FrameProperties, Residuals

NOTES = 12
"""Pitch class k switches feature k on; its note is 48 + k."""
FEATURES = 64
LEVELS = 3
STEP = 20.0
"""dB of a class of loudness, where there are three."""


class Planted(NamedTuple):
    """Clips, the dictionary that made them, and their labels."""

    sae: SAE
    residuals: Residuals
    labels: list[FrameProperties]
    codes: list[NDArray[np.float64]]


def planted(seed: int, *, clips: int = 24, frames: int = 100) -> Planted:
    """x = D·f: feature k < 12 is note k, amplitude scales all of x, features 12 and 13 mix to the centroid.

    D is orthonormal, so that f is read exactly. Frames of a clip come in runs of five with one label, as sound has.
    """
    rng = np.random.default_rng(seed)
    D = np.linalg.qr(rng.standard_normal((FEATURES, FEATURES)))[0]
    rows, labels, codes = [], [], []
    for _ in range(clips):
        runs = frames // 5
        note, level = rng.integers(NOTES, size=runs), -50.0 + STEP * rng.integers(LEVELS, size=runs)
        mix = rng.uniform(0, 1, runs)
        f = np.zeros((runs, FEATURES))
        f[np.arange(runs), note] = 1.0
        f[:, 12], f[:, 13] = mix, 1 - mix
        f[:, 20:40] = 0.1 * rng.random((runs, 20))
        f = np.repeat(f, 5, 0)
        level, note, mix = (np.repeat(each, 5) for each in (level, note, mix))
        # the scale grows with the level in dB, so that equal bins of dB are equal steps of x
        f = f * (1 + (level[:, None] + 60) / 12)
        codes.append(f)
        rows.append(torch.from_numpy(f @ D).float())
        labels.append(FrameProperties(48.0 + note, np.full(frames, 0.9), level, 200.0 * 2 ** (5 * mix)))
    sae = SAE(
        torch.from_numpy(D).float(), torch.zeros(FEATURES), torch.from_numpy(D).float(), torch.zeros(FEATURES),
        gate="jumprelu", threshold=torch.full((FEATURES,), 1e-3),
    )  # fmt: skip
    groups = [f"player {i % 8}" for i in range(clips)]
    return Planted(sae, Residuals.of(rows, groups=groups, rate=50.0), labels, codes)


class RMSNormed:
    """The same features after an RMSNorm, f ← f / rms(f): the scale of a frame is gone."""

    def __init__(self, sae: SAE) -> None:
        self._sae = sae
        self.n_features, self.d_model = sae.n_features, sae.d_model

    def encode(self, x: Any) -> Tensor:
        f = self._sae.encode(x)
        return f / f.square().mean(-1, keepdim=True).add(1e-8).sqrt()
