"""What tells frames without speech from frames with it: the shipped gate, and its controls.

A score is higher where there is no speech; a frame is open, that is taken for a gap, above the threshold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from frame_conditions import Window
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from audiosae_steer import SAE, TimestampGate
from audiosae_steer.data.audio import Samples
from audiosae_steer.discover.gates.fit_timestamps import RATE, frame_labels
from audiosae_steer.discover.gates.labelled_frames import FRAME
from audiosae_steer.discover.gates.reader import LayerReader
from audiosae_steer.discover.gates.settings import TimestampGateSettings
from audiosae_steer.evaluate.benchmark.long_recordings import LongFile
from audiosae_steer.evaluate.metrics.feature_ranking import auc
from audiosae_steer.evaluate.metrics.logistic_regression import fit_logistic
from audiosae_steer.evaluate.transcription.vad import FRAME as VAD_FRAME
from audiosae_steer.evaluate.transcription.vad import speech_spans
from audiosae_steer.io.files import atomic_file
from audiosae_steer.ops import eager
from audiosae_steer.steering.gates import TimestampProbe, frame_features, nearby

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]
SETTINGS = TimestampGateSettings()
PENALTIES = np.geomspace(1e-4, 1.0, 25)
"""Those of the shipped gates, the strongest penalty first."""
FINER = np.geomspace(1e-4, 1.0, 73)
"""Three times as many, so that a control can read as many features as the gate."""
DENSE = (1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties of the dense probe, of which `calibrate` chooses."""
SMOOTHED = (1, 5, 11, 21)
"""Frames over which the dense probe's log odds are averaged, of which `calibrate` chooses."""


class Seen(NamedTuple):
    """A window with its residuals."""

    rows: Tensor
    """(1500, d_model), float16."""
    samples: Samples
    labels: NDArray[np.int64]
    """(1500,): 1 speech, 0 none, −1 neither."""


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """One way to tell the frames of a window apart."""

    name: str
    about: str
    """Size, and what was chosen, for the results."""
    score: Callable[[Seen], Scores]
    """Scores (1500,)."""
    threshold: float
    decide: Callable[[Seen, Scores], Flags]
    """Frames (1500,) that are taken for a gap in the end."""


class Frames(NamedTuple):
    """Frames to fit on."""

    residuals: Tensor
    """(frames, d_model)."""
    features: dict[float, csr_matrix]
    """(frames, n_features), each feature at its largest within reach, by reach in seconds."""
    absent: Flags
    """(frames,): without speech."""


def seen(reader: LayerReader, windows: Sequence[Window]) -> Iterator[Seen]:
    """The windows with their residuals."""
    residuals = reader.residuals([window.samples for window in windows], "zeros")
    for rows, window in zip(residuals, windows, strict=True):
        yield Seen(rows, window.samples, window.labels)


def frames_of(reader: LayerReader, windows: Sequence[LongFile], reaches: Sequence[float]) -> Frames:
    """The frames that the shipped gate was fitted on: the same draws of the same windows."""
    rng = np.random.default_rng(SETTINGS.seed)
    kept: tuple[list[Tensor], list[Tensor]] = [], []
    found: dict[float, tuple[list[csr_matrix], list[csr_matrix]]] = {reach: ([], []) for reach in reaches}
    residuals = reader.residuals([window.samples for window in windows], "zeros")
    for half, window in zip(residuals, windows, strict=True):
        rows, labels = half.float(), frame_labels(window, len(half))
        own = [np.sort(rng.permutation(np.flatnonzero(labels == kind))[: SETTINGS.per_window]) for kind in (0, 1)]
        f = frame_features(reader.sae, rows, None, 0)[None]
        for kind, positions in enumerate(own):
            kept[kind].append(rows[torch.from_numpy(positions)])
        for reach, both in found.items():
            largest = nearby(f, round(reach * RATE))[0].double().numpy()
            for kind, positions in enumerate(own):
                both[kind].append(csr_matrix(largest[positions]))
    absent, present = (torch.cat(rows) for rows in kept)
    features = {reach: vstack([*both[0], *both[1]], format="csr") for reach, both in found.items()}
    return Frames(torch.cat([absent, present]), features, np.arange(len(absent) + len(present)) < len(absent))


def sparse_gates(
    features: csr_matrix, absent: Flags, counts: Sequence[int], reach: float, penalties: NDArray[np.float64] = PENALTIES
) -> dict[int, TimestampGate]:
    """Gates of at most so many features each, the least penalised of them, with their threshold at 0."""
    mean = np.asarray(features.mean(0)).ravel()
    spread = np.sqrt(np.maximum(np.asarray(features.multiply(features).mean(0)).ravel() - mean**2, 0))
    spread = np.where(spread > 0, spread, 1.0)
    scaled = csr_matrix(features.multiply(1 / spread))
    found: dict[int, TimestampGate] = {}
    for penalty in penalties:
        fit = fit_logistic(scaled, absent, float(penalty), l1=True, seed=SETTINGS.seed)
        chosen = np.flatnonzero(fit.weights)
        if len(chosen) > max(counts):
            break
        if len(chosen):
            weights = (fit.weights / spread)[chosen]
            gate = TimestampGate(tuple(chosen.tolist()), tuple(weights.tolist()), fit.bias, reach=reach)
            found |= {count: gate for count in counts if len(chosen) <= count}
    return found


def random_sae(sae: SAE, residuals: Tensor, seed: int = 0) -> SAE:
    """An SAE whose encoder rows are Gaussian, of the same norms, and whose features fire on as many of these frames.

    Args:
        sae: the SAE, whose features fire on their own.
        residuals: (frames, d_model).
        seed: of the rows.
    """
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(sae.W_enc.shape, generator=generator)
    W *= sae.W_enc.float().norm(dim=1, keepdim=True) / W.norm(dim=1, keepdim=True)
    b_enc = torch.zeros(sae.n_features)
    parts = {"W_dec": sae.W_dec.float(), "b_dec": sae.b_dec.float(), "gate": sae.gate}
    given: dict[str, Any] = {**parts, "threshold": sae.threshold, "normalisation": sae.normalisation}
    blank = SAE(W, b_enc, **given)
    for some in torch.arange(sae.n_features).split(256):
        fires = (eager.activations(residuals[None], sae.rows(some.tolist(), torch.float32))[0] > 0).sum(0)
        rows = blank.rows(some.tolist(), torch.float32)
        if rows.unit_norm is not None:
            raise SystemExit("an SAE that normalises each frame has no such control here")
        values = (residuals @ rows.W_enc.T + rows.bias).sort(0, descending=True).values
        last, first = (values.gather(0, (fires - shift).clamp(0, len(values) - 1)[None])[0] for shift in (1, 0))
        # between the last that is to fire and the first that is not to; all or none: beyond the ends
        between = torch.where(fires == 0, first + 1, torch.where(fires == len(values), last - 1, (last + first) / 2))
        b_enc[some] = rows.threshold - between
    return SAE(W, b_enc, **given)


def gate_scorer(name: str, gate: TimestampGate, sae: SAE, about: str = "") -> Scorer:
    """A gate that reads an SAE's features."""
    probe = TimestampProbe(gate, sae, RATE)

    def score(window: Seen) -> Scores:
        found: Scores = probe.scores(window.rows.float()[None])[0].double().numpy()
        return found

    about = about or f"{len(gate.features)} features"
    return Scorer(name=name, about=about, score=score, threshold=gate.threshold, decide=by_rules(gate))


def by_rules(gate: TimestampGate, threshold: float | None = None) -> Callable[[Seen, Scores], Flags]:
    """The gate's rules on what is brief, for scores against a threshold; by default the gate's own."""
    placed = gate.threshold if threshold is None else threshold
    # the rules read no feature
    bare = replace(gate, features=(0,), weights=(0.0,))
    probe = TimestampProbe(bare, SAE(np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1), gate="relu"), RATE)
    return lambda window, scores: probe.opened(torch.from_numpy(scores > placed)[None])[0].numpy()


def placed_at(scorer: Scorer, windows: Sequence[Seen], budget: float, gate: TimestampGate) -> Scorer:
    """The scorer with a threshold that leaves a share `budget` of these frames of speech above it, and our rules."""
    spoken = np.concatenate([scorer.score(window)[window.labels == 1] for window in windows])
    threshold = float(np.quantile(spoken, 1 - budget))
    return replace(scorer, threshold=threshold, decide=by_rules(gate, threshold))


def dense_probe(frames: Frames, windows: Sequence[Seen], budget: float, gate: TimestampGate) -> Scorer:
    """A logistic regression on the residual; penalty and smoothing are those of the best AUC on `windows`.

    A frame counts at the least of its log odds within the gate's reach, as features count at their largest.
    """
    mean, spread = frames.residuals.mean(0), frames.residuals.std(0).clamp(min=1e-6)
    scaled = ((frames.residuals - mean) / spread).numpy()
    best: tuple[float, Scorer] | None = None
    labels = np.concatenate([window.labels for window in windows])
    for penalty in DENSE:
        fit = fit_logistic(scaled, frames.absent, penalty)
        weights = torch.from_numpy(fit.weights).float() / spread
        bias = fit.bias - float(mean @ weights)
        for width in SMOOTHED:

            def score(window: Seen, weights: Tensor = weights, bias: float = bias, width: int = width) -> Scores:
                odds = (window.rows.float() @ weights + bias).double().numpy()
                return least(uniform_filter1d(odds, width, mode="nearest"), gate.reach)

            about = f"{len(weights)} dimensions, C = {penalty:g}, averaged over {width} frames"
            made = Scorer(name="dense probe", about=about, score=score, threshold=0.0, decide=by_rules(gate))
            scores = np.concatenate([score(window) for window in windows])
            reached = auc(scores[labels >= 0], labels[labels >= 0] == 0)
            best = (reached, made) if best is None or reached > best[0] else best
    assert best is not None
    return placed_at(best[1], windows, budget, gate)


def least(scores: Scores, reach: float) -> Scores:
    """Each frame's lowest score within reach."""
    found: Scores = -nearby(torch.from_numpy(-scores)[None, :, None], round(reach * RATE))[0, :, 0].numpy()
    return found


def silero(cache: Path, windows: Sequence[Seen], budget: float, gate: TimestampGate) -> list[Scorer]:
    """Silero VAD as faster-whisper runs it, and with the gate's reach, budget and rules; none if it is missing."""
    try:
        from faster_whisper.vad import get_vad_model
    except ImportError:
        return []

    def score(window: Seen) -> Scores:
        digest = hashlib.sha256(np.ascontiguousarray(window.samples).tobytes()).hexdigest()[:24]
        path = cache / "silero" / f"{digest}.npy"
        if not path.is_file():
            # a frame of padding always, as the library has it; the model sets the end of its input to 0
            padded = np.pad(window.samples, (0, VAD_FRAME - len(window.samples) % VAD_FRAME))
            with atomic_file(path) as part, part.open("wb") as file:
                np.save(file, np.asarray(get_vad_model()(padded)).ravel())
        centres = (np.arange(len(window.labels)) * FRAME + FRAME // 2) // VAD_FRAME
        return 1 - np.load(path).astype(np.float64)[centres]

    def decide(window: Seen, scores: Scores) -> Flags:
        opened = np.ones(len(scores), bool)
        for span in speech_spans(window.samples):
            opened[round(span.start * RATE) : round(span.end * RATE)] = False
        return opened

    own = Scorer(
        name="Silero VAD",
        about="threshold 0.5; decided as `vad_filter=True` decides",
        score=score,
        threshold=0.5,
        decide=decide,
    )
    ours = Scorer(
        name="Silero VAD, placed as the gate",
        about="the gate's reach, budget and rules",
        score=lambda window: least(score(window), gate.reach),
        threshold=0.5,
        decide=by_rules(gate),
    )
    return [own, placed_at(ours, windows, budget, gate)]
