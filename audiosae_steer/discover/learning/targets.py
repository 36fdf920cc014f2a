"""What learning hears: residuals of clips, and what the unsteered model writes for those in which somebody speaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ...data.audio import Samples
from ...errors import AudioError
from ...evaluate.transcription.from_residuals import BATCH, encode, write
from ...io.files import write_whole
from ...io.progress import track
from ...models.families.whisper_mel import Pad
from ...models.registry import fingerprint
from .loss import Spoken

PADS: tuple[Pad, Pad] = ("zeros", "silence")
LOOP = 200
"""Tokens from which on a text is taken for a loop, which is nothing to preserve."""


def both_pads(
    model: Any, clips: Sequence[Samples], layer: int, cache: Path | None, what: str, progress: bool
) -> list[Tensor]:
    """Residuals of every clip, every other one filled up in the one way, the rest in the other."""
    rows: list[Tensor] = []
    for first, pad in enumerate(PADS):
        if some := clips[first :: len(PADS)]:
            name = f"{what}, filled with {pad}"
            rows += encode(model, some, layer, pad, cache=cache, what=name, progress=progress)
    return rows


def spoken(model: Any, rows: Sequence[Tensor], layer: int, cache: Path | None, progress: bool) -> list[Spoken]:
    """The clips for which the model writes something that is no loop, with the tokens it writes in both modes.

    Raises:
        AudioError: it writes nothing for any of them.
    """
    from whisper.tokenizer import get_tokenizer

    end = get_tokenizer(model.is_multilingual).eot  # text is below it, timestamps are above
    texts = [_transcripts(model, rows, layer, timed, cache, progress) for timed in (True, False)]
    found = [
        Spoken(x, timed, untimed)
        for x, timed, untimed in zip(rows, *texts, strict=True)
        if any(token < end for token in timed) and max(len(timed), len(untimed)) < LOOP
    ]
    if not found:
        raise AudioError("the model wrote no text for the speech clips; are they speech?")
    return found


def _transcripts(
    model: Any, rows: Sequence[Tensor], layer: int, timed: bool, cache: Path | None, progress: bool
) -> list[tuple[int, ...]]:
    """The tokens that the unsteered model writes for each clip."""
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
        write_whole(path, json.dumps(found))
    return found
