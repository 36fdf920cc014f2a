"""Latency of transcription without and with steering."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ..data.activations.capture import residuals
from ..data.audio import Samples
from ..models.families.whisper_mel import mel
from ..models.registry import unwrap
from ..steering.steering import Steering


class Latency(NamedTuple):
    """The steering's own time as a share of the encoder's.

    Timed by itself between passes of the encoder: the difference of steered and unsteered passes, which are far longer,
    would drown in their noise (`benchmarks/overhead.py` has both).
    """

    share: float
    """Median."""
    low: float
    """Fastest of the repeats."""
    high: float
    """Slowest."""


def measure_latency(
    model: Any, steering: Steering, samples: Samples, tell: Callable[[int, int], None], repeats: int = 9
) -> Latency:
    """Time the steering's own work, by itself, after each of some passes of the encoder.

    Args:
        model: a Whisper of either library, steered.
        steering: what steers it.
        samples: a clip, mono, at 16 kHz.
        tell: called with how many passes are done, and how many there are.
        repeats: passes of the encoder.
    """
    inner: Any = unwrap(model)
    sites = [site for site in steering.hooks if site.side == "encoder"]
    taken = residuals(inner, [samples], [site.layer for site in sites])
    spectrum = mel(inner, [samples])
    encoder = inner.encoder if hasattr(inner, "dims") else inner.get_encoder()
    ratios = []
    strength, steering.strength = steering.strength, 0.0  # what is timed is the same at any strength
    with torch.no_grad():
        for number in range(repeats):
            tell(number, repeats)
            start = time.perf_counter()
            encoder(spectrum)
            middle = time.perf_counter()
            for site in sites:
                steering.hooks[site](taken[site.layer])
            own = time.perf_counter() - middle
            ratios.append(own / max(middle - start - own, 1e-9))  # the pass was steered itself
    steering.strength = strength
    tell(repeats, repeats)
    return Latency(statistics.median(ratios), min(ratios), max(ratios))
