"""Stretches in which named features fire, to hear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import Patterns
from ..frame.presented import Moment
from ..frame.residual_clips import Residuals
from .frame_phones import FramePhones
from .phone_findings import Phones

EXAMPLES = 8
SECONDS = 1.0
"""Length of a stretch."""


def examples_of(
    found: Phones, patterns: Patterns, phones: FramePhones, residuals: Residuals, report: NDArray[np.int64]
) -> tuple[Moment, ...]:
    """A stretch of `report` around the longest run of the best feature of each phone, of the phones with most frames.

    None without files.

    Args:
        found: the result so far.
        patterns: frames of all clips.
        phones: phones of the frames.
        residuals: all clips.
        report: clips of the part `report`.
    """
    if residuals.excerpts is None or not residuals.rate:
        return ()
    moments: list[Moment] = []
    for row in sorted(found.rows, key=lambda row: -row.report_frames):
        if row.best is None or len(moments) == EXAMPLES:
            continue
        fired = np.asarray(patterns.active[:, [row.best]].todense()).reshape(-1)
        width = max(round(0.1 * residuals.rate), 1)
        best = (0.0, 0, 0)
        for clip in report:
            first, last = patterns.starts[clip], patterns.starts[clip + 1]
            if last > first:
                busy = np.convolve(fired[first:last], np.ones(width), "same")
                best = max(best, (float(busy.max()), -int(clip), int(busy.argmax())))
        if not best[0]:
            continue
        clip, at = -best[1], best[2]
        item = residuals.excerpts.items[clip]
        start = min(max((at + 0.5) / residuals.rate - SECONDS / 2, 0.0), max(item.seconds - SECONDS, 0.0))
        own = phones.of[patterns.starts[clip] + at]
        there = phones.names[own] if own >= 0 else "no phone"
        moments.append(
            Moment(
                clip=clip, name=item.name, start=round(start, 3), seconds=round(min(SECONDS, item.seconds - start), 3),
                says=f"Feature {row.best}, named {row.phone}, fires most densely in the middle of this, on {there}",
            )
        )  # fmt: skip
    return tuple(moments)
