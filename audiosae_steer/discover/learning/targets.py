"""Training targets: cached residuals and unsteered transcripts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...data.audio import Samples
from ...errors import AudioError
from ...evaluate.transcription.from_residuals import BATCH, encode, write
from ...io.files import write_atomic
from ...io.progress import track
from ...models.families.whisper_mel import Pad
from ...models.registry import fingerprint
from .loss import SpeechTarget

PADS: tuple[Pad, Pad] = ("zeros", "silence")
LOOP = 200
"""Tokens from which on a text is taken for a loop, which is nothing to preserve; Whisper's own limit is 224."""


class LearningClips(NamedTuple):
    """Clips of up to 30 s, mono at 16 kHz. Of one recording, all clips belong on one side."""

    absent: Sequence[Samples]
    """Non-speech."""
    present: Sequence[Samples]
    """Speech; the more varied (noisy, quiet, brief, beside noise), the better."""
    held_absent: Sequence[Samples]
    """Like `absent`, to stop early on."""
    held_present: Sequence[Samples]
    """Like `present`, to stop early on."""


class Targets(NamedTuple):
    """Clips as learning takes them, all computed by the unsteered model."""

    noise: list[Tensor]
    """Residuals (frames, d_model) of the clips without speech."""
    speech: list[SpeechTarget]
    """Clips with speech that have a text to keep."""
    held_noise: list[Tensor]
    """Like `noise`, held out."""
    held_speech: list[SpeechTarget]
    """Like `speech`, held out."""


def targets_of(model: Any, clips: LearningClips, layer: int, cache: Path | None, progress: bool) -> Targets:
    """Encode all clips, and transcribe those with speech.

    Args:
        model: an openai-whisper model, unsteered.
        clips: samples of all four kinds.
        layer: encoder layer, counted from 1.
        cache: folder for residuals and transcripts; None keeps none.
        progress: show progress bars.

    Raises:
        AudioError: there are no clips of a kind, or the model writes nothing for the speech.
    """
    noise, speech, held_noise, held_speech = (
        _residuals(model, samples, layer, cache, kind.replace("_", " "), progress)
        for kind, samples in clips._asdict().items()
    )
    said = [speech_targets(model, rows, layer, cache, progress) for rows in (speech, held_speech)]
    return Targets(noise, said[0], held_noise, said[1])


def speech_targets(
    model: Any, rows: Sequence[Tensor], layer: int, cache: Path | None, progress: bool
) -> list[SpeechTarget]:
    """Clips for which the model writes something that is no loop, with the tokens it writes in both modes.

    Raises:
        AudioError: it writes nothing for any of them.
    """
    from whisper.tokenizer import get_tokenizer

    end = get_tokenizer(model.is_multilingual).eot  # text is below it, timestamps are above
    texts = [_transcripts(model, rows, layer, timed, cache, progress) for timed in (True, False)]
    found = [
        SpeechTarget(x, timed, untimed)
        for x, timed, untimed in zip(rows, *texts, strict=True)
        if any(token < end for token in timed) and max(len(timed), len(untimed)) < LOOP
    ]
    if not found:
        raise AudioError("the model wrote no text for the speech clips; are they speech?")
    return found


def _residuals(
    model: Any, clips: Sequence[Samples], layer: int, cache: Path | None, what: str, progress: bool
) -> list[Tensor]:
    """Residuals of every clip, every other one padded with silence; first those that are padded with zeros."""
    rows: list[Tensor] = []
    for first, pad in enumerate(PADS):
        if some := clips[first :: len(PADS)]:
            name = f"{what}, padded with {pad}"
            rows += encode(model, some, layer, pad, cache=cache, what=name, progress=progress)
    return rows


def _transcripts(
    model: Any, rows: Sequence[Tensor], layer: int, timed: bool, cache: Path | None, progress: bool
) -> list[tuple[int, ...]]:
    """Tokens that the unsteered model writes for each clip."""
    digest = hashlib.sha256(f"{fingerprint(model)} {layer} {timed}".encode())
    for row in rows:
        digest.update(row.numpy().tobytes())
    path = None if cache is None else cache / f"said-{digest.hexdigest()[:24]}.json"
    if path is not None and path.is_file():
        return [tuple(tokens) for tokens in json.loads(path.read_text(encoding="utf-8"))]
    name = f"transcribing speech, with{'' if timed else 'out'} timestamps"
    parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    found = [w.tokens for part in track(parts, name, progress) for w in write(model, part, layer, timestamps=timed)]
    if path is not None:
        write_atomic(path, json.dumps(found))
    return found
