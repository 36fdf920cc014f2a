"""Examples as pages show them: their words, their small curve, and what the player needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...evaluate.page_parts.stage_clips import Curve, Media, StageClip, stage_clip
from ..index.index_rows import Clip, Example

KIND_TITLES = {
    "top": ("Strongest", "the clips on which it fires highest"),
    "q90": ("At 90 % of its peak", "clips whose highest activation is near 90 % of the feature's peak"),
    "q75": ("At 75 %", "clips near 75 % of its peak"),
    "q50": ("At 50 %", "clips near half of its peak"),
    "threshold": ("Just above the threshold", "clips on which it only just fires"),
    "near": ("Near misses", "clips on which it stays silent and comes closest; the curve is what lies before its gate"),
}
"""Heading and explanation of each kind of examples."""


def clip_words(clip: Clip) -> str:
    """Label and transcript of a clip in one line."""
    quoted = f"“{clip.transcript}”" if clip.transcript else ""
    return " · ".join(part for part in (clip.label, quoted) if part)


def shown(
    example: Example, rate: float, top: float, address: Callable[[Clip, str], str], cursor: float | None = None
) -> StageClip:
    """An example for a template.

    Args:
        example: of a feature.
        rate: frames per second.
        top: activation at the upper edge of the curve: the feature's peak.
        address: of a clip's `mel` or `sound`.
        cursor: seconds; None: a little before the peak.
    """
    clip, near = example.clip, example.kind == "near"
    curve = Curve(example.curve, rate, top, example.at, example.peak if near else None)
    made = stage_clip(
        str(clip.id), clip.name, Media(clip.seconds, address(clip, "mel"), address(clip, "sound")), curve,
        words=clip_words(clip), kind=example.kind, cursor=cursor,
        rights=" · ".join(part for part in (clip.source, clip.licence) if part),
    )  # fmt: skip
    return made._replace(clip=clip)


def grouped(examples: Sequence[StageClip]) -> list[tuple[str, str, list[StageClip]]]:
    """Examples by kind: heading, explanation, and those of the kind."""
    kinds = [(*KIND_TITLES[kind], [each for each in examples if each.kind == kind]) for kind in KIND_TITLES]
    return [each for each in kinds if each[2]]
