"""Features of clips at one encoder layer, as gates read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...data.audio import Samples
from ...errors import GateError
from ...evaluate.metrics.logistic_regression import Matrix
from ...evaluate.transcription.from_residuals import encode
from ...io.progress import track
from ...models.families.whisper_mel import Pad
from ...sae.autoencoder import SAE
from ...steering.gates import gate_features
from ..learning.targets import PADS

CHUNK = 16
"""Clips that are encoded at once: residuals of all clips would be gigabytes."""


@dataclass(frozen=True, kw_only=True)
class LayerReader:
    """One encoder layer of an openai-whisper model, with its SAE."""

    model: Any
    sae: SAE
    layer: int
    """Counted from 1."""
    cache: Path | None = None
    """Folder for the encoded clips."""
    progress: bool = True
    """Show progress bars."""

    def residuals(self, clips: Sequence[Samples], pad: Pad) -> Iterator[Tensor]:
        """Residuals (frames, d_model) of clip after clip."""
        starts = range(0, len(clips), CHUNK)
        name = f"encoding for gates, padded with {pad}"
        for start in track(starts, name, self.progress and bool(len(starts))):
            some = clips[start : start + CHUNK]
            for row in encode(self.model, some, self.layer, pad, cache=self.cache, progress=False):
                yield row.cpu()

    def pooled(self, clips: Sequence[Samples], features: Sequence[int] | None = None) -> Matrix:
        """Max-pooled features (clips, n), all of them by default; every other clip is padded with silence.

        Rows are in the order of the paddings: first the clips that are padded with zeros.

        Raises:
            GateError: there are no clips.
        """
        if not clips:
            raise GateError("a gate needs clips without and with speech, to fit it and to place its threshold")
        chosen = range(self.sae.n_features) if features is None else features
        rows = [
            gate_features(self.sae, row.float()[None], chosen, "max")[0]
            for turn, pad in enumerate(PADS)
            for row in self.residuals(clips[turn :: len(PADS)], pad)
        ]
        found: Matrix = torch.stack(rows).double().numpy()
        return found
