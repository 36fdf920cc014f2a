"""Clips that features which tell a label take for its own, rightly and wrongly, to hear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frame.codes import ClipCodes
from ..frame.presented import Moment
from ..frame.residual_clips import Residuals
from .label_findings import LabelSearch

SECONDS = 5.0
"""Longest stretch."""
MOST = 12
"""Clips at most."""


def examples_of(
    found: LabelSearch, codes: ClipCodes, residuals: Residuals, report: NDArray[np.int64]
) -> tuple[Moment, ...]:
    """The clip of the label, and the clip of another, on which each label's best kept feature is highest.

    None without files.

    Args:
        found: the result so far.
        codes: codes of all clips.
        residuals: all clips.
        report: rows of the part `report`.
    """
    if residuals.excerpts is None:
        return ()
    labels = np.array(residuals.labels, str)[report]
    values = codes.max if found.provenance.settings.get("pool") == "max" else codes.mean
    moments: list[Moment] = []
    for row in found.rows:
        direct = [each for each in row.kept if not each.inverse]
        if not direct or len(moments) == MOST:
            continue
        feature = direct[0].feature
        for own in (True, False):
            clips = report[(labels == row.label) == own]
            clip = int(clips[values[clips, feature].argmax()])
            item = residuals.excerpts.items[clip]
            says = (
                f"Feature {feature}, for {row.label}: {values[clip, feature]:.3g} on a clip of {item.label}, the "
                f"highest of {'its own' if own else 'the others'} (threshold {direct[0].threshold:.3g})"
            )
            seconds = round(min(item.seconds, SECONDS), 3)
            moments.append(Moment(clip=clip, name=item.name, start=0.0, seconds=seconds, says=says))
    return tuple(moments)
