"""Clip and frame gates of one encoder layer, fitted on some clips, with thresholds placed on others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import GateError
from ...evaluate.metrics.logistic_regression import Matrix
from ...sae.autoencoder import SAE
from ...steering.gates import ClipGate, FrameGate
from .labelled_frames import LabelledClips, frame_matrices
from .probe import AnyGate, fit_frame_gate, fit_gate, set_threshold
from .reader import LayerReader
from .settings import ClipGateSettings, FrameGateSettings


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
    reader = LayerReader(model=model, sae=sae, layer=layer, cache=cache, progress=progress)
    absent, present = (reader.pooled(clips) for clips in fit)
    gate, _ = fit_gate(absent, present, "max", max_features=settings.max_features, seed=settings.seed)
    absent, present = (reader.pooled(clips, gate.features) for clips in place)
    return _placed(gate, absent, present, settings)


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
    an utterance, frames are speech that lie within 0.2 s of one less than 30 dB below the loudest.

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
    if not fit.absent or not fit.present or not place.absent or not place.present:
        raise GateError("a frame gate needs clips without and with speech, to fit it and to place its threshold")
    reader = LayerReader(model=model, sae=sae, layer=layer, cache=cache, progress=progress)
    absent, present = frame_matrices(reader, fit, settings, settings.seed)
    gate, _ = fit_frame_gate(absent, present, settings.reach, max_features=settings.max_features, seed=settings.seed)
    absent, present = frame_matrices(reader, place, settings, settings.seed + 1, gate.features)
    return _placed(gate, absent, present, settings)


def _placed(gate: AnyGate, absent: Matrix, present: Matrix, settings: ClipGateSettings | FrameGateSettings) -> AnyGate:
    """The gate with a threshold placed on features (clips or frames, n) that hold only those that it reads."""
    local = replace(gate, features=tuple(range(len(gate.features))))
    placed = set_threshold(local, absent, present, margin=settings.margin, budget=settings.budget)
    return replace(placed, features=gate.features)
