"""Stretches of clips on which the features of a domain fire, to hear."""

from __future__ import annotations

import numpy as np

from ..frame.presented import Moment
from ..frame.residual_clips import Residuals
from .domain_assignments import Domains
from .domain_frequencies import Indices, Tally

EACH = 2
"""Stretches of each domain."""


def examples_of(
    found: Domains, whole: Tally, place: Indices, numbers: Indices, residuals: Residuals
) -> tuple[Moment, ...]:
    """The busiest piece of the features that lead most in each domain, each in another clip.

    None without files or without a frame rate.

    Args:
        found: the result so far.
        whole: counts of all features.
        place: (clips,) domain of each clip that was counted.
        numbers: (clips,) its number in the data.
        residuals: all clips.
    """
    if residuals.excerpts is None or not residuals.rate:
        return ()
    moments: list[Moment] = []
    for at, domain in enumerate(found.domains):
        rows = np.flatnonzero(place == at).tolist()
        taken: set[int] = set()
        for feature in found.leading(domain.name):
            free = [row for row in rows if row not in taken and whole.frames[row, feature]]
            if len(taken) == EACH or not free:
                break
            clip = free[int(np.argmax(whole.frames[free, feature] / whole.count[free]))]  # of equals the first
            taken.add(clip)
            item = residuals.excerpts.items[numbers[clip]]
            start = whole.busiest[clip, feature] * whole.length / residuals.rate
            own = found.frame_frequency[feature]
            says = (
                f"Feature {feature} leads in {domain.name}: it fires on {100 * (own or (0,) * 9)[at]:.1f} % of frames"
            )
            seconds = min(whole.length / residuals.rate, item.seconds - start)
            moments.append(
                Moment(
                    clip=int(numbers[clip]), name=item.name, start=round(start, 3), seconds=round(seconds, 3), says=says
                )
            )
    return tuple(moments)
