"""Transcription from an SAE's reconstruction of every frame: fills a `Reconstructions`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...data.audio import Samples
from ...errors import SteeringError
from ...evaluate.metrics.wer import WordErrors, rate_difference, rate_interval, word_errors
from ...evaluate.transcription.from_residuals import encode, write
from ...io.progress import Tell
from ...models.registry import fingerprint, unwrap
from ...sae.autoencoder import SAE
from ...steering.edits import Ablate, Edit, Scale
from ...steering.steering import steer
from ..frame.intervals import Interval
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance, rounded
from .reconstruction_records import ReconstructionSettings, WrittenFrom
from .reconstruction_result import Reconstructions

MODEL, BIAS = "the model itself", "bias alone"


def reconstruction_wer(
    model: Any,
    sae: SAE,
    layer: int,
    clips: Sequence[Samples],
    references: Sequence[str],
    *,
    settings: ReconstructionSettings | None = None,
    cache: Path | None = None,
    progress: Tell | None = None,
) -> Reconstructions:
    """Measure the word error rate with every frame at a layer replaced by the SAE's reconstruction.

    Args:
        model: an openai-whisper model, not steered.
        sae: the SAE of that encoder layer.
        layer: encoder layer, counted from 1.
        clips: mono samples at 16 kHz; of longer ones the first 30 s are read.
        references: transcript of each.
        settings: further thresholds, batch, draws and seed.
        cache: folder for residuals, about 1 MB a clip; None: none are kept.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: clips and transcripts differ in number, or it is no openai-whisper model.
        SiteError: the SAE or the layer does not fit the model.
        MissingExtraError: jiwer is not installed.
    """
    settings = settings or ReconstructionSettings()
    if len(clips) != len(references) or not len(clips):
        raise SteeringError(f"{len(clips)} clips and {len(references)} transcripts; give a transcript for each clip")
    if sae.threshold is None and settings.thresholds:
        raise SteeringError(f"this SAE's gate, {sae.gate.kind}, has no threshold to try others of; leave them out")
    ways = _ways(sae, settings)
    texts: dict[str, list[str]] = {name: [] for name in ways}
    for start in range(0, len(clips), settings.batch):
        if progress is not None:
            progress("transcribing", start, len(clips))
        rows = encode(model, clips[start : start + settings.batch], layer, cache=cache, progress=False)
        for name, (used, edits) in ways.items():
            texts[name] += [each.text for each in _written(model, rows, layer, used, edits)]
    if progress is not None:
        progress("transcribing", len(clips), len(clips))
    plain = word_errors(references, texts[MODEL])
    found = [_row(name, word_errors(references, texts[name]), plain, texts[name], settings) for name in ways]
    site = SiteFacts(
        model="whisper", fingerprint=fingerprint(unwrap(model)), site=f"encoder layer {layer}",
        data=_digest(clips, references), clips=len(clips), frames=0, groups=len(clips), rate=None,
    )  # fmt: skip
    return Reconstructions(
        provenance=provenance(sites=[site], saes=[SAEFacts.of(sae)], settings=settings, seed=settings.seed),
        layer=layer,
        clips=len(clips),
        words=sum(plain.words),
        rows=tuple(found),
    )


def _ways(sae: SAE, settings: ReconstructionSettings) -> dict[str, tuple[SAE | None, list[Edit]]]:
    """SAE and edits of each kind of residual; no SAE: the model itself."""
    everything: list[Edit] = [Scale(0, 1.0)]
    ways: dict[str, tuple[SAE | None, list[Edit]]] = {MODEL: (None, []), "reconstruction": (sae, everything)}
    for threshold in settings.thresholds:
        other = copy.deepcopy(sae)
        other.threshold = torch.tensor(threshold)
        ways[f"threshold {threshold:g}"] = (other, everything)
    if settings.bias:
        ways[BIAS] = (sae, [Ablate(list(range(sae.n_features)))])
    return ways


def _written(model: Any, rows: Any, layer: int, sae: SAE | None, edits: list[Edit]) -> Any:
    if sae is None:
        return write(model, rows, layer)
    with steer(model, sae=sae, layer=layer, edits=edits, error="drop"):
        return write(model, rows, layer)


def _row(
    name: str, found: WordErrors, plain: WordErrors, texts: Sequence[str], settings: ReconstructionSettings
) -> WrittenFrom:
    told = {"draws": settings.draws, "seed": settings.seed}
    own = Interval(*rate_interval(found, **told))
    empty = sum(not text.strip() for text in texts)
    if name == MODEL:
        return WrittenFrom(name, found.rate, own, found.capped.rate, None, None, None, None, empty)
    change, capped = rate_difference(plain, found, **told), rate_difference(plain.capped, found.capped, **told)
    return WrittenFrom(
        name, finite(found.rate), own, finite(found.capped.rate),
        rounded(change.value), Interval(change.low, change.high),
        rounded(capped.value), Interval(capped.low, capped.high), empty,
    )  # fmt: skip


def _digest(clips: Sequence[Samples], references: Sequence[str]) -> str:
    import hashlib
    import json

    from ...data.audio import samples_key

    words = json.dumps([[samples_key(clip) for clip in clips], list(references)])
    return hashlib.sha256(words.encode()).hexdigest()
