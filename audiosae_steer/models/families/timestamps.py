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
REST = 25
"""Steps of 20 ms after the end of a segment that may be the rest of its last sound."""
ENOUGH = 50
"""Such steps of speech that are not left out."""
TOKEN = 50
"""Such steps of speech that a token of text may take: speech has three or four a second, slow speech one."""


def limit(model: Any, unspoken: Unspoken, *closers: Callable[[], None]) -> Callable[[], None]:
    """Forbid this instance timestamps without speech; returns a function that ends that and calls `closers`."""
    return instance_rules.add(model, _KIND, unspoken, *closers)


def limits(model: Any) -> bool:
    """Some steering of this instance limits its timestamps."""
    return bool(instance_rules.of(model, _KIND))


class TimestampMask:
    """Mask of the tokens that may not be written next, as far as speech and timestamps decide.

    No timestamp lies where no frame holds speech. A segment begins within `latest` of where speech goes on after the
    one before it, it ends before it has a second of speech more than its tokens can take, and the text does not end
    while a second of speech is left: none is skipped.

    Args:
        model: the instance.
        first: token of 0.00 s, after which the others follow.
        end: token of the end of the text.
        latest: steps of 20 ms up to which a segment may begin, counted from where speech begins; None: any.
    """

    def __init__(self, model: Any, first: int, end: int, latest: int | None) -> None:
        self.model, self.first, self.end, self.latest = model, first, end, latest
        self._kept: tuple[int, Tensor | None, Tensor | None] | None = None
        """Rows of the text under way, what their gate decided, and steps of speech (rows, 1501) up to each timestamp:
        once a window, not with each token."""

    def fill(self, scores: Tensor, tokens: Tensor, begin: int) -> None:
        """Set scores (rows, vocabulary) of such tokens to −inf, in place. Without any speech Whisper's own bound holds.

        Args:
            scores: logits of the next token, before Whisper's own rules on timestamps.
            tokens: (rows, steps), the prompt and what is written so far.
            begin: length of the prompt.
        """
        begins = tokens.shape[1] == begin
        if begins or self._kept is None or self._kept[0] != len(scores):
            found = self._forbidden(len(scores), scores.device)
            self._kept = len(scores), found, None if found is None else _spoken(found)
        _, forbidden, spoken = self._kept
        if begins and self.latest is not None:
            steps = torch.arange(TIMESTAMPS, device=scores.device)
            start = torch.zeros(len(scores), 1, dtype=torch.long, device=scores.device)
            if forbidden is not None:
                start = (~forbidden).long().argmax(1, keepdim=True)
            late = steps > start + self.latest
            scores[:, self.first : self.first + TIMESTAMPS].masked_fill_(late, -torch.inf)
        if forbidden is None or spoken is None:
            return
        barred = forbidden if tokens.shape[1] < begin + 2 else forbidden | self._beyond(tokens[:, begin:], spoken)
        scores[:, self.first : self.first + TIMESTAMPS].masked_fill_(barred, -torch.inf)
        if tokens.shape[1] >= begin + 2:
            for row, (before, last) in enumerate(tokens[:, -2:].tolist()):
                if before < self.first <= last:  # a segment has ended
                    self._go_on(scores[row], forbidden[row], last - self.first)

    def _beyond(self, tokens: Tensor, spoken: Tensor) -> Tensor:
        """(rows, 1501) bool: timestamps up to which the segment under way has more speech than its tokens can take."""
        stamps = tokens >= self.first
        last = torch.where(stamps, torch.arange(tokens.shape[1], device=tokens.device), -1).amax(1, keepdim=True)
        began = (tokens.gather(1, last.clamp(min=0)) - self.first).clamp(0, TIMESTAMPS - 1)
        written = tokens.shape[1] - 1 - last
        most = spoken.gather(1, began) + ENOUGH + TOKEN * written
        return (spoken > most) & (last >= 0) & (written > 0)

    def _go_on(self, scores: Tensor, forbidden: Tensor, at: int) -> None:
        """Bound the next segment's beginning, and forbid the end, while speech is left after step `at`."""
        left = (~forbidden[at + REST :]).nonzero()[:, 0]
        if len(left) < ENOUGH or bool(forbidden.logical_not().all()):
            return
        scores[self.end] = -torch.inf
        if self.latest is not None:
            scores[self.first + at + REST + int(left[0]) + self.latest + 1 :] = -torch.inf

    def _forbidden(self, rows: int, device: torch.device) -> Tensor | None:
        """(rows, 1501) bool."""
        found: Tensor | None = None
        for each in instance_rules.of(self.model, _KIND):
            frames = each(rows)
            if frames is not None:
                own = timestamps_within(frames.to(device))
                found = own if found is None else found | own
        return None if found is None else found & ~found.all(1, keepdim=True)


def _spoken(forbidden: Tensor) -> Tensor:
    """(rows, 1501): steps of speech up to each timestamp; 0 where nothing is forbidden, which bounds nothing."""
    return (~forbidden & forbidden.any(1, keepdim=True)).int().cumsum(1)


def timestamps_within(unspoken: Tensor) -> Tensor:
    """(rows, 1501) bool: timestamps between two frames of which neither holds speech, for frames (rows, n) of 30 s."""
    frames = unspoken.shape[1]
    at = torch.arange(TIMESTAMPS, device=unspoken.device) * frames
    before = (-(-at // (TIMESTAMPS - 1)) - 1).clamp(min=0)
    after = (at // (TIMESTAMPS - 1)).clamp(max=frames - 1)
    return unspoken[:, before] & unspoken[:, after]
