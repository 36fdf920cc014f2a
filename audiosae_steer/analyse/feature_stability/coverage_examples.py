"""Stretches of clips on which features that both SAEs have fire, to hear."""

from __future__ import annotations

import numpy as np

from ..frame.codes import Patterns
from ..frame.presented import Moment
from ..frame.residual_clips import Residuals
from .coverage import Coverage

EXAMPLES = 6
SECONDS = 2.0
"""Length of a stretch."""
OFTEN = 0.1
"""Density above which a feature says little of a stretch."""


def examples_of(found: Coverage, a: Patterns, b: Patterns, residuals: Residuals) -> tuple[Moment, ...]:
    """The busiest stretch of 2 s of the features of A with the best partners of their own, each in another clip.

    Features that fire on more than a tenth of all frames are left out. None without files or without a frame rate.
    """
    if residuals.excerpts is None or not residuals.rate:
        return ()
    density = a.seen().frames / max(a.frames, 1)
    order = sorted(
        (i for i, own in enumerate(found.assigned) if own is not None and density[i] <= OFTEN),
        key=lambda i: -(found.chi[i] or 0),
    )
    window = max(round(SECONDS * residuals.rate), 1)
    moments: list[Moment] = []
    for feature in order:
        taken = {moment.clip for moment in moments}
        if len(moments) == EXAMPLES:
            break
        fired = np.asarray(a.active[:, [feature]].todense()).reshape(-1)
        best = (0.0, 0, 0)
        for clip, (first, last) in enumerate(zip(a.starts[:-1], a.starts[1:], strict=True)):
            if clip in taken or first == last:
                continue
            sums = np.convolve(fired[first:last], np.ones(window), "valid" if last - first >= window else "full")
            best = max(best, (float(sums.max()), -clip, int(sums.argmax()) if last - first >= window else 0))
        if best[0]:
            clip = -best[1]
            start = best[2] / residuals.rate
            says = (
                f"Feature {feature} of A, which feature {found.assigned[feature]} of B has as well "
                f"(χ {found.chi[feature] or 0:.2f}), fires on {best[0]:.0f} frames here"
            )
            item = residuals.excerpts.items[clip]
            length = min(SECONDS, item.seconds - start)
            moments.append(
                Moment(clip=clip, name=item.name, start=round(start, 3), seconds=round(length, 3), says=says)
            )
    return tuple(moments)
