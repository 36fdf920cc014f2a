"""Firing of a feature in speech, in other sound, and in the padding of windows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.activations.by_clip import takes_whole_windows
from ...data.activations.capture import frames_of, residuals
from ...models.registry import unwrap
from ...models.sites import Site
from ...sae.autoencoder import SAE
from ..frame.codes import fires
from ..frame.excerpts import Excerpts
from ..frame.nulls import p_value, shifted_rows
from .card_records import Place

Flags = NDArray[np.bool_]


def detected_speech(excerpts: Excerpts, frames: Sequence[int], rate: float) -> Flags | None:
    """Frames, clip after clip, that Silero VAD takes for speech; None without the package `faster-whisper`."""
    if find_spec("faster_whisper") is None:
        return None
    from ...evaluate.transcription.vad import speech_spans

    found = []
    for item, count in zip(excerpts.items, frames, strict=True):
        centre = (np.arange(count) + 0.5) / rate
        spans = speech_spans(item.read(), min_silence=0.3, pad=0.0)
        found.append(np.any([(centre >= span.start) & (centre < span.end) for span in spans], 0) if spans else
                     np.zeros(count, bool))  # fmt: skip
    return np.concatenate(found)


def places_of(
    fired: Flags, speech: Flags, other: Flags, starts: Any, rate: float | None, draws: int, seed: int
) -> list[Place]:
    """Firing in speech and in other sound, with a p-value from shifts of at least 1 s within each clip.

    Args:
        fired: (frames,) the feature fires.
        speech: (frames,) there is speech.
        other: (frames,) there is other sound; frames that are neither are left out.
        starts: (clips + 1,) first frame of each clip.
        rate: frames per second.
        draws: shifts.
        seed: seed of the shifts.
    """

    def gap(now: Flags) -> float:
        return float(now[speech].mean() - now[other].mean())

    p = None
    if speech.any() and other.any() and draws:
        rng = np.random.default_rng([seed, 5])
        null = [abs(gap(fired[shifted_rows(starts, rate, rng)[0]])) for _ in range(draws)]
        p = float(p_value(abs(gap(fired)), null))
    return [
        Place(name, int(mask.sum()), int(fired[mask].sum()), p) for name, mask in (("speech", speech), ("other", other))
    ]


def padding_of(model: Any, site: Site, sae: SAE, feature: int, samples: Sequence[NDArray[np.float32]]) -> Place | None:
    """Firing on frames of the padding that fills windows up; None for a model that takes no windows.

    Args:
        model: the model.
        site: site of the SAE.
        sae: the SAE.
        feature: the feature.
        samples: clips at 16 kHz.
    """
    inner = unwrap(model)
    if not takes_whole_windows(inner, site) or site.layer is None:
        return None
    frames = fired = 0
    for clip in samples:
        with torch.no_grad():
            row = residuals(inner, [clip], [site.layer])[site.layer][0].float().cpu()
            rest = fires(sae, sae.encode(row))[frames_of(len(clip), len(row)) :, feature]
        frames += len(rest)
        fired += int(rest.sum())
    return Place("padding", frames, fired, None)
