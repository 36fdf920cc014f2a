"""Timestamp gates of one encoder layer, fitted on windows whose speech is known to the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.audio import SAMPLE_RATE
from ...errors import GateError
from ...evaluate.benchmark.long_recordings import PAUSE, LongFile
from ...evaluate.metrics.logistic_regression import Matrix
from ...sae.autoencoder import SAE
from ...steering.gates import TimestampGate, frame_features
from .labelled_frames import FRAME
from .probe import assess, fit_frame_gate, score
from .reader import LayerReader
from .settings import TimestampGateSettings

MARGIN = 0.15
"""Seconds at the edges of a gap that count neither as speech nor as none: mixing blurs them, as the encoder does."""
SECONDS = 30.0


def make_timestamp_gate(
    model: Any,
    sae: SAE,
    layer: int,
    fit: Sequence[LongFile],
    place: Sequence[LongFile],
    *,
    settings: TimestampGateSettings | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> TimestampGate:
    """Timestamp gate that opens for frames without speech, its threshold placed on other windows.

    The utterances of the windows are speech from their first sound to their last, with the pauses in them; the pauses
    between two are left out. The threshold leaves a share `budget` of the frames of speech above it.

    Args:
        model: an openai-whisper model.
        sae: of that layer.
        layer: encoder layer, counted from 1.
        fit: windows of up to 30 s to fit on.
        place: windows of other sounds and speakers to place the threshold on.
        settings: reach, budget, size and seed of the fit.
        cache: folder for the encoded windows.
        progress: show progress bars.

    Raises:
        GateError: too few windows, one is longer than 30 s, or no small set of features tells the frames apart.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or TimestampGateSettings()
    if not fit or not place:
        raise GateError("a timestamp gate needs windows to fit it, and others to place its threshold")
    reader = LayerReader(model=model, sae=sae, layer=layer, cache=cache, progress=progress)
    absent, present = _matrices(reader, fit, settings, None, settings.per_window)
    gate, _ = fit_frame_gate(absent, present, settings.reach, max_features=settings.max_features, seed=settings.seed)
    absent, present = _matrices(reader, place, settings, gate.features, None)
    local = TimestampGate(tuple(range(len(gate.features))), gate.weights, gate.bias, 0.0, settings.reach)
    threshold = float(np.quantile(score(local, present), 1 - settings.budget))
    placed = replace(local, threshold=threshold)
    found = assess(placed, absent, present)
    calibration = {
        "auc": round(found.auc, 5),
        "open_absent": round(found.open_absent, 5),
        "open_present": round(found.open_present, 5),
        "frames": list(found.clips),
        "windows": len(place),
        "budget": settings.budget,
    }
    return replace(placed, features=gate.features, calibration=calibration)


def frame_labels(window: LongFile, frames: int) -> NDArray[np.int64]:
    """Labels (frames,): 1 speech, 0 none, −1 neither, of a window of up to 30 s, padded."""
    rate = SAMPLE_RATE / FRAME
    found = np.full(frames, -1)
    seconds = window.seconds
    found[int(np.ceil((seconds + MARGIN) * rate)) :] = 0  # the padding
    for piece in window.pieces:
        first, last = round(piece.start * rate), round(piece.end * rate)
        if piece.text is not None:
            found[first:last] = 1
        elif piece.kind != PAUSE:
            inner = piece.start + MARGIN * (piece.start > 0), piece.end - MARGIN * (piece.end < seconds)
            found[int(np.ceil(inner[0] * rate)) : max(int(inner[1] * rate), 0)] = 0
    return found


def _matrices(
    reader: LayerReader,
    windows: Sequence[LongFile],
    settings: TimestampGateSettings,
    features: Sequence[int] | None,
    most: int | None,
) -> tuple[Matrix, Matrix]:
    """Features (frames, n) of frames without and with speech, at most so many of each kind from a window."""
    long = [window.name for window in windows if window.seconds > SECONDS]
    if long:
        raise GateError(f"the window {long[0]!r} is longer than 30 s; cut it, or assemble shorter ones")
    rng = np.random.default_rng(settings.seed)
    steps = round(settings.reach * SAMPLE_RATE / FRAME)
    found: tuple[list[Tensor], list[Tensor]] = [], []
    residuals = reader.residuals([window.samples for window in windows], "zeros")
    for rows, window in zip(residuals, windows, strict=True):
        largest = frame_features(reader.sae, rows.float(), features, steps)
        labels = frame_labels(window, len(rows))
        for kind, kept in enumerate(found):
            positions = np.flatnonzero(labels == kind)
            picked = positions if most is None else rng.permutation(positions)[:most]
            kept.append(largest[torch.from_numpy(np.sort(picked))])
    absent, present = (torch.cat(kept).double().numpy() for kept in found)
    return absent, present
