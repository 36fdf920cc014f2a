"""Self-contained page to compare two sounds by ear: level-matched, and blind if wanted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import AudioError
from ..drawing import base64_of
from ..html_page import render

QUIET = 1e-6
"""RMS below which a sound counts as silence, whose level is left alone."""


class Compared(NamedTuple):
    """A sound of the page."""

    name: str
    samples: NDArray[Any]
    """(n,) or (channels, n)."""
    says: str = ""


class _Shown(NamedTuple):
    name: str
    says: str
    wav: str
    gain: float
    """Factor of at most 1 that brings it to the level of the softest."""
    level: str
    image: str


def ab_page(title: str, says: str, sounds: Sequence[Compared], rate: int, facts: Sequence[tuple[str, str]] = ()) -> str:
    """The page, one HTML file without external files.

    The first two sounds are A and B. Their levels are matched by turning down the louder ones to the RMS of the
    softest, which a switch takes off; blind, A and B are drawn at random each time and answers are counted.

    Args:
        title: of the page.
        says: a sentence below it.
        sounds: two of them at least.
        rate: Hz.
        facts: names and values to print at the end.

    Raises:
        AudioError: there are fewer than two sounds, or one is empty.
    """
    if len(sounds) < 2 or any(not np.size(each.samples) for each in sounds):
        raise AudioError(f"{len(sounds)} sounds cannot be compared; give two at least, each with samples")
    levels = [float(np.sqrt(np.mean(np.square(np.asarray(each.samples, np.float64))))) for each in sounds]
    softest = min((each for each in levels if each > QUIET), default=1.0)
    shown = [
        _Shown(
            each.name, each.says, _wav(each.samples, rate), min(softest / level, 1.0) if level > QUIET else 1.0,
            f"{20 * np.log10(max(level, QUIET)):.1f} dB RMS", _outline(each.samples),
        )
        for each, level in zip(sounds, levels, strict=True)
    ]  # fmt: skip
    return render(Path(__file__).with_suffix(".html"), title=title, says=says, sounds=shown, facts=list(facts))


def _wav(samples: NDArray[Any], rate: int) -> str:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(np.asarray(samples).T, -1, 1), rate, format="WAV", subtype="PCM_16")
    return base64_of(file.getvalue())


def _outline(samples: NDArray[Any], columns: int = 240) -> str:
    """Peaks as the path of an SVG of 240 × 48."""
    mono = np.atleast_2d(np.asarray(samples, np.float64)).mean(0)
    parts = np.array_split(mono, min(columns, len(mono)))
    top = [24 - 23 * float(np.clip(part.max(), -1, 1)) for part in parts]
    bottom = [24 - 23 * float(np.clip(part.min(), -1, 1)) for part in parts]
    step = columns / len(parts)
    there = [f"{i * step:.1f},{y:.1f}" for i, y in enumerate(top)]
    back = [f"{i * step:.1f},{y:.1f}" for i, y in reversed(list(enumerate(bottom)))]
    return "M" + " L".join([*there, *back]) + "Z"
