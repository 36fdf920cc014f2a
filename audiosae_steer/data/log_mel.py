"""Log-mel spectrograms by Whisper's definition, without its package: 80 bands, 100 frames per second."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from .audio import SAMPLE_RATE, Samples

Numbers = NDArray[np.float32]
BANDS = 80
HOP = 160
"""Samples from frame to frame; frame m is centred at m · 10 ms."""
WINDOW = 400
MEL_RATE = SAMPLE_RATE / HOP
"""Frames per second."""
FLOOR = 1e-10
RANGE = 8.0
"""Decades below the clip's highest that are kept."""
_LINEAR, _BREAK, _STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27
"""Slaney's scale: Hz per mel up to the break, and the logarithm of a mel above it."""


def mel_power(samples: Samples) -> Numbers:
    """Power in mel bands (frames, 80) of mono samples (n,) at 16 kHz."""
    sound = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    if len(sound) <= WINDOW // 2:  # reflection takes more than half a window
        sound = torch.nn.functional.pad(sound, (0, WINDOW // 2 + 1 - len(sound)))
    spectrum = torch.stft(sound, WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)[:, :-1]
    power: Numbers = (torch.from_numpy(_filters()) @ spectrum.abs().square()).T.numpy()
    return power


def log_mel(power: Numbers) -> Numbers:
    """Whisper's input (frames, 80) of such power: its logarithm, down to eight decades below the highest, scaled."""
    logs = np.log10(np.maximum(power, FLOOR))
    return np.asarray((np.maximum(logs, logs.max(initial=np.log10(FLOOR)) - RANGE) + 4) / 4, np.float32)


def band_centres() -> NDArray[np.float64]:
    """Frequency (80,) in Hz at which each band is centred."""
    return _edges()[1:-1]


def _edges() -> NDArray[np.float64]:
    top = _BREAK / _LINEAR + np.log(SAMPLE_RATE / 2 / _BREAK) / _STEP
    mels = np.linspace(0, top, BANDS + 2)
    above = _BREAK * np.exp(_STEP * (mels - _BREAK / _LINEAR))
    return np.where(mels < _BREAK / _LINEAR, mels * _LINEAR, above)


@cache
def _filters() -> Numbers:
    """Triangles (80, 201) of equal area (Slaney 1998, Auditory Toolbox)."""
    edges, bins = _edges(), np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return triangles.astype(np.float32)
