"""Timestamp gates of one encoder layer, fitted on windows whose speech is known to the frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from ...evaluate.benchmark.mixed_recordings import mix
from ...evaluate.metrics.logistic_regression import Matrix
from ...sae.autoencoder import SAE
from ...steering.gates import FrameGate, TimestampGate, TimestampProbe, frame_features
from .labelled_frames import FRAME, LabelledClips
from .probe import fit_frame_gate
from .reader import LayerReader
from .settings import TimestampGateSettings

MARGIN = 0.15
"""Seconds at the edges of a gap that count neither as speech nor as none: mixing blurs them, as the encoder does."""
SECONDS = 30.0
LONGEST, DRAWN = 12, 12
"""Seconds of an utterance in a window, and utterances to draw for one."""
SILENT = 1e-10
"""Mean square of samples below which a clip is silent."""
RATE = SAMPLE_RATE / FRAME
"""Frames a second."""


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
    between two are left out. The threshold leaves a share `budget` of the frames of speech above it; the calibration
    counts the frames for which it opens in the end, those of too short stretches of speech among them.

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
    absent, present = _matrices(reader, fit, settings)
    gate, _ = fit_frame_gate(absent, present, settings.reach, max_features=settings.max_features, seed=settings.seed)
    return _placed(reader, gate, place, settings)


def mixed_windows(clips: LabelledClips, count: int, seed: int = 0) -> list[LongFile]:
    """Windows of 30 s in which utterances alternate with sounds, drawn from clips with and without speech.

    Clips that are silent are left out, and of long utterances all but the first 12 s.

    Raises:
        AudioError: no clip of a kind is left.
    """
    present, absent = ([x for x in kind if float(np.square(x).mean()) > SILENT] for kind in clips[::-1])
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        # more than fit: `mix` prepares all that it is given
        some = rng.permutation(len(present))[:DRAWN]
        utterances = [(present[each][: LONGEST * SAMPLE_RATE], "speech") for each in some]
        found.append(mix(utterances, {"sound": absent}, seed + number, SECONDS, name=f"window {number}").mixed)
    return found


def _placed(
    reader: LayerReader, fitted: FrameGate, windows: Sequence[LongFile], settings: TimestampGateSettings
) -> TimestampGate:
    """The gate with its threshold, and with figures of the frames that it then opens for in these windows."""
    from sklearn.metrics import roc_auc_score

    gate = TimestampGate(
        fitted.features, fitted.weights, fitted.bias, 0.0, settings.reach, {}, settings.least_speech, settings.least_gap
    )
    probe = TimestampProbe(gate, reader.sae, RATE)
    seen = [(probe.scores(rows.float()[None])[0], labels) for rows, labels in _labelled(reader, windows)]
    labels = np.concatenate([each for _, each in seen])
    scores = np.concatenate([each.numpy() for each, _ in seen])
    threshold = float(np.quantile(scores[labels == 1], 1 - settings.budget))
    opened = np.concatenate([probe.opened(each[None] > threshold)[0].numpy() for each, _ in seen])
    calibration = {
        "auc": round(float(roc_auc_score(labels[labels >= 0] == 0, scores[labels >= 0])), 5),
        "open_absent": round(float(opened[labels == 0].mean()), 5),
        "open_present": round(float(opened[labels == 1].mean()), 5),
        "frames": [int((labels == kind).sum()) for kind in (0, 1)],
        "windows": len(windows),
        "budget": settings.budget,
    }
    return replace(gate, threshold=threshold, calibration=calibration)


def frame_labels(window: LongFile, frames: int) -> NDArray[np.int64]:
    """Labels (frames,): 1 speech, 0 none, −1 neither, of a window of up to 30 s, padded."""
    rate = RATE
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


def _labelled(reader: LayerReader, windows: Sequence[LongFile]) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
    """Residuals (frames, d_model) and labels (frames,) of each window, padded to 30 s."""
    long = [window.name for window in windows if window.seconds > SECONDS]
    if long:
        raise GateError(f"the window {long[0]!r} is longer than 30 s; cut it, or assemble shorter ones")
    residuals = reader.residuals([window.samples for window in windows], "zeros")
    for rows, window in zip(residuals, windows, strict=True):
        yield rows, frame_labels(window, len(rows))


def _matrices(
    reader: LayerReader, windows: Sequence[LongFile], settings: TimestampGateSettings
) -> tuple[Matrix, Matrix]:
    """Features (frames, n) of frames without and with speech, at most so many of each kind from a window."""
    rng = np.random.default_rng(settings.seed)
    steps = round(settings.reach * RATE)
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for rows, labels in _labelled(reader, windows):
        largest = frame_features(reader.sae, rows.float(), None, steps)
        for kind, kept in enumerate(found):
            positions = np.flatnonzero(labels == kind)
            picked = rng.permutation(positions)[: settings.per_window]
            kept.append(largest[torch.from_numpy(np.sort(picked))])
    absent, present = (torch.cat(kept).double().numpy() for kept in found)
    return absent, present
