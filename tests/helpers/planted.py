"""Planted data for the analyses: codes of which the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audiosae_steer import SAE
from audiosae_steer.analyse import Residuals

Flags = NDArray[np.bool_]


def bursts(rng: np.random.Generator, frames: int, densities: Sequence[float], length: int = 5) -> Flags:
    """Patterns (frames, F) that fire in runs of about `length` frames, each feature with its density."""
    runs = -(-frames // length) + 1
    starts = rng.random((runs, len(densities))) < np.asarray(densities)
    fired = np.repeat(starts, length, axis=0)
    offset = int(rng.integers(length))
    return fired[offset : offset + frames]


def cut(pattern: Flags, clips: int) -> list[Flags]:
    """Clips of equal length."""
    return list(np.split(pattern, clips))


def log_uniform(rng: np.random.Generator, count: int, low: float = 0.02, high: float = 0.2) -> NDArray[np.float64]:
    """Densities."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def identity_sae(features: int, decoder: NDArray[np.float64] | None = None) -> SAE:
    """An SAE whose features are the residual's coordinates, with decoder rows of one's own."""
    rows = np.eye(features) if decoder is None else decoder
    as_tensor = torch.from_numpy(rows).float()
    return SAE(torch.eye(features), torch.zeros(features), as_tensor, torch.zeros(features), gate="relu")


def one_frame_clips(
    codes: NDArray[np.float64], labels: Sequence[str], groups: Sequence[str] | None = None
) -> Residuals:
    """Clips of one frame each, which `identity_sae` reads as these codes (clips, F)."""
    return Residuals.of([torch.from_numpy(row[None]).float() for row in codes], labels=labels, groups=groups)


def marked(
    rng: np.random.Generator, kinds: Sequence[int], features: int, carriers: Sequence[int], by: float = 0.954
) -> NDArray[np.float64]:
    """Codes (clips, F), above 0, of which the carriers are higher by `by` deviations in clips of kind 1: .954 is an AUC
    of .75."""
    codes = 8 + rng.standard_normal((len(kinds), features))
    codes[:, list(carriers)] += by * (np.asarray(kinds) == 1)[:, None]
    return np.maximum(codes, 0.01)


def exact(rng: np.random.Generator, frames: int, counts: Sequence[int]) -> Flags:
    """Patterns (frames, F) of features that fire on exactly so many frames, anywhere."""
    order = rng.random((frames, len(counts))).argsort(0)
    return order < np.asarray(counts)


def coordinates(features: int) -> SAE:
    """SAE whose features are the coordinates of the residual, where above zero."""
    rows = torch.eye(features)
    return SAE(rows, torch.zeros(features), rows, torch.zeros(features), gate="relu")


def as_clips(patterns: Sequence[Any], **given: Any) -> Residuals:
    """Residuals whose `coordinates` are these patterns, or values, clip by clip; see `Residuals.of`."""
    return Residuals.of([torch.from_numpy(np.asarray(each, np.float32)) for each in patterns], **given)
