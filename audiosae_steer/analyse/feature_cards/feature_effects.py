"""Effect of a feature on a Whisper's text: clips transcribed with it ablated, and set, beside other features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.audio import Samples
from ...evaluate.metrics.wer import word_errors
from ...evaluate.transcription.decoding import Decoding
from ...evaluate.transcription.transcribe import transcribe_batch
from ...io.progress import Tell
from ...models.registry import unwrap
from ...models.sites import Site
from ...models.whisper.tokenizer import processor_for
from ...sae.autoencoder import SAE
from ...steering.edits import Ablate, Edit, Set
from ...steering.steering import steer
from .card_records import Effect, Heard

MODES = ("ablated", "set")


def writes_text(model: Any) -> bool:
    """True of a Whisper with a decoder, of either library."""
    inner = unwrap(model)
    return hasattr(inner, "dims") or (
        hasattr(getattr(inner, "config", None), "num_mel_bins") and hasattr(inner, "generation_config")
    )


def effects_of(
    model: Any,
    site: Site,
    sae: SAE,
    features: tuple[int, Sequence[int]],
    peaks: Sequence[float],
    clips: dict[str, list[tuple[str, Samples]]],
    progress: Tell | None = None,
) -> tuple[list[Effect], list[Heard]]:
    """Words that change if a feature is ablated, and if it is set to its highest activation on every frame.

    Args:
        model: a Whisper.
        site: site of the SAE.
        sae: the SAE.
        features: the feature, and others of like density to hold it against.
        peaks: highest activation of each of them, the feature's first.
        clips: kinds of clips (top, others), each with names and samples.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        MissingExtraError: the libraries of Whisper or of word error rates are not installed.
    """
    names = [(kind, name) for kind, given in clips.items() for name, _ in given]
    samples = [sound for given in clips.values() for _, sound in given]
    kinds = np.array([kind for kind, _ in names])
    everyone = (features[0], *features[1])
    before = _texts(model, samples)
    texts: dict[tuple[str, int], list[str]] = {}
    for number, (feature, peak) in enumerate(zip(everyone, peaks, strict=True)):
        for mode in MODES:
            if progress is not None:
                progress("transcribing with edits", number, len(everyone))
            edit: Edit = Ablate(feature) if mode == "ablated" else Set(feature, peak)
            with steer(model, sae=sae, site=site, edits=[edit], allow_empty=True):
                texts[mode, feature] = _texts(model, samples)
    found = []
    for mode in MODES:
        for kind in clips:
            rows = np.flatnonzero(kinds == kind)
            own = [before[row] for row in rows]
            rates = []
            for feature in everyone:
                errors = word_errors(own, [texts[mode, feature][row] for row in rows])
                rates.append(round(sum(errors.errors) / max(sum(errors.words), 1), 6))
            words = sum(word_errors(own, own).words)
            others = rates[1:]
            found.append(
                Effect(mode, kind, len(rows), words, rates[0], round(float(np.mean(others)), 6) if others else None,
                       max(others) if others else None)
            )  # fmt: skip
    heard = [
        Heard(name, before[row], texts["ablated", features[0]][row], texts["set", features[0]][row])
        for row, (_, name) in enumerate(names)
    ]
    return found, heard


def _texts(model: Any, samples: Sequence[Samples]) -> list[str]:
    inner = unwrap(model)
    config = getattr(inner, "config", None)
    processor = None if hasattr(inner, "dims") else processor_for(config.vocab_size, config.num_mel_bins)  # type: ignore[union-attr]
    # without timestamps a text changes by its words alone
    decoding = Decoding(timestamps=False)
    return [found.text.strip() for found in transcribe_batch(model, list(samples), decoding, processor=processor)]
