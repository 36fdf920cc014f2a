"""Timestamps of Whisper: none in frames that hold no speech, as the steerings of a model say.

A timestamp in a gap makes a long transcription go on at a wrong place: speech is heard again and written twice, or
left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..sites import TIMESTAMPS, Unspoken
from . import instance_rules

_KIND = "timestamps"


def limit(model: Any, unspoken: Unspoken, *closers: Callable[[], None]) -> Callable[[], None]:
    """Forbid this instance timestamps without speech; returns a function that ends that and calls `closers`."""
    back = instance_rules.add(model, _KIND, unspoken)

    def close() -> None:
        for each in closers:
            each()
        back()

    return close


def limits(model: Any) -> bool:
    """Some steering of this instance limits its timestamps."""
    return bool(instance_rules.of(model, _KIND))


class TimestampMask:
    """Mask of the timestamps that may not be written next.

    Args:
        model: the instance.
        first: token of 0.00 s, after which the others follow.
        latest: steps of 20 ms up to which a text may begin, counted from where somebody speaks first; None: any.
    """

    def __init__(self, model: Any, first: int, latest: int | None) -> None:
        self.model, self.first, self.latest = model, first, latest

    def fill(self, scores: Tensor, *, begins: bool) -> None:
        """Set scores (rows, vocabulary) of such timestamps to −inf, in place; `begins`: the first token comes next.

        Where no frame holds speech, nothing is forbidden.
        """
        forbidden = self._forbidden(len(scores), scores.device)
        if begins and self.latest is not None:
            steps = torch.arange(TIMESTAMPS, device=scores.device)
            start = torch.zeros(len(scores), 1, dtype=torch.long, device=scores.device)
            if forbidden is not None:
                start = (~forbidden).long().argmax(1, keepdim=True)
            late = steps > start + self.latest
            forbidden = late if forbidden is None else forbidden | late
        if forbidden is not None:
            scores[:, self.first : self.first + TIMESTAMPS].masked_fill_(forbidden, -torch.inf)

    def _forbidden(self, rows: int, device: torch.device) -> Tensor | None:
        """(rows, 1501) bool."""
        found: Tensor | None = None
        for each in instance_rules.of(self.model, _KIND):
            frames = each(rows)
            if frames is not None:
                own = timestamps_within(frames.to(device))
                found = own if found is None else found | own
        return None if found is None else found & ~found.all(1, keepdim=True)


def timestamps_within(unspoken: Tensor) -> Tensor:
    """(rows, 1501) bool: timestamps between two frames of which neither holds speech, for frames (rows, n) of 30 s."""
    frames = unspoken.shape[1]
    at = torch.arange(TIMESTAMPS, device=unspoken.device) * frames
    before = (-(-at // (TIMESTAMPS - 1)) - 1).clamp(min=0)
    after = (at // (TIMESTAMPS - 1)).clamp(max=frames - 1)
    return unspoken[:, before] & unspoken[:, after]
