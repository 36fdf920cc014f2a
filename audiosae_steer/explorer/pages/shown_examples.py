"""Examples as pages show them: their words, their small curve, and what the player needs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from ...evaluate.page_parts.drawn_parts import curve_in_words, curve_svg, number
from ..index.index_rows import Clip, Example
from ..index.index_schema import CURVE_LEVELS

KIND_TITLES = {
    "top": ("Strongest", "the clips on which it fires highest"),
    "q90": ("At 90 % of its peak", "clips whose highest activation is near 90 % of the feature's peak"),
    "q75": ("At 75 %", "clips near 75 % of its peak"),
    "q50": ("At 50 %", "clips near half of its peak"),
    "threshold": ("Just above the threshold", "clips on which it only just fires"),
    "near": ("Near misses", "clips on which it stays silent and comes closest; the curve is what lies before its gate"),
}
"""Heading and explanation of each kind of examples."""


class Shown(NamedTuple):
    """An example, ready for a template."""

    key: str
    """The clip's number, which links bear."""
    kind: str
    clip: Clip
    name: str
    words: str
    """Label and transcript."""
    said: str
    """Text alternative of its curve."""
    brief: str
    seconds: float
    at: float
    cursor: float
    mel: str
    sound: str
    svg: Markup
    data: dict[str, Any]
    """For the player, as JSON."""


def clip_words(clip: Clip) -> str:
    """Label and transcript of a clip in one line."""
    quoted = f"“{clip.transcript}”" if clip.transcript else ""
    return " · ".join(part for part in (clip.label, quoted) if part)


def shown(
    example: Example, rate: float, top: float, address: Callable[[Clip, str], str], cursor: float | None = None
) -> Shown:
    """An example for a template.

    Args:
        example: of a feature.
        rate: frames per second.
        top: activation at the upper edge of the curve: the feature's peak.
        address: of a clip's `mel` or `sound`.
        cursor: seconds; None: a little before the peak.
    """
    near, clip = example.kind == "near", example.clip
    scale = float(example.curve.max(initial=0.0))
    if near:
        said = f"does not fire; comes closest at {example.at:.1f} s, {number(example.peak)} below the threshold"
        brief = f"{number(example.peak)} below, at {example.at:.1f} s"
    else:
        said = curve_in_words(example.curve, rate, example.at)
        brief = f"{number(example.peak)} at {example.at:.1f} s"
    said = said[0].upper() + said[1:] + "."
    steps = np.round(example.curve / scale * CURVE_LEVELS) if scale > 0 else np.zeros(len(example.curve))
    mel, sound, words = address(clip, "mel"), address(clip, "sound"), clip_words(clip)
    data = {
        "key": str(clip.id), "kind": example.kind, "name": clip.name, "words": words, "said": said,
        "seconds": clip.seconds, "at": round(example.at, 3), "scale": round(scale, 5), "mel": mel, "sound": sound,
        "rights": " · ".join(part for part in (clip.source, clip.licence) if part),
        "curve": base64.b64encode(steps.astype(np.uint8).tobytes()).decode("ascii"),
    }  # fmt: skip
    start = max(example.at - 0.4, 0.0) if cursor is None else min(max(cursor, 0.0), clip.seconds)
    svg = curve_svg(example.curve, scale if near else max(top, scale))
    return Shown(str(clip.id), example.kind, clip, clip.name, words, said, brief, clip.seconds, example.at, start, mel,
                 sound, svg, data)  # fmt: skip


def grouped(examples: Sequence[Shown]) -> list[tuple[str, str, list[Shown]]]:
    """Examples by kind: heading, explanation, and those of the kind."""
    kinds = [(*KIND_TITLES[kind], [each for each in examples if each.kind == kind]) for kind in KIND_TITLES]
    return [each for each in kinds if each[2]]
