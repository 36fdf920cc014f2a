"""Empty texts in a batch, for the clips that some steering of the model edits: permitted, and kept by a beam search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..sites import Door
from . import instance_rules
from .method_override import restore_all

_KIND = "empty text"


def allow(model: Any, door: Door, *closers: Callable[[], None]) -> Callable[[], None]:
    """Add `door` to the permissions of this instance's texts.

    Returns a function that takes it back, and calls `closers`.
    """
    return instance_rules.add(model, _KIND, door, *closers)


def allows(model: Any) -> bool:
    """Some steering of this instance may permit empty texts."""
    return bool(instance_rules.of(model, _KIND))


def forget(model: Any) -> None:
    """Take away all rules of an instance and whatever replaces its methods, as a copy of a steered model has."""
    instance_rules.clear(model)
    restore_all(model)


def shut(model: Any, rows: int, device: torch.device) -> Tensor:
    """Mask (rows,) of texts that must not be empty, with no wait for the device."""
    empty = torch.zeros(rows, dtype=torch.bool, device=device)
    for door in instance_rules.of(model, _KIND):
        allowed = door(rows)
        empty |= allowed if isinstance(allowed, bool) else allowed.to(device)
    return ~empty


def always(rows: int) -> bool:
    """A permission for every text."""
    return True


class EmptyTextRule:
    """End of text for all hypotheses of a clip that may be empty, where its best hypothesis has that as likeliest.

    A greedy search ends there by itself. A beam search goes on with the other hypotheses, and one of them wins by its
    mean log-probability; sampling may draw any token. The decision is made once, at the step that writes the text's
    first token, which comes after "no timestamps" or after the first timestamp.
    """

    def __init__(self, model: Any, end: int, starts: range) -> None:
        self.model, self.end, self.starts = model, end, starts
        self._ended: Tensor | None = None

    def mask(self, scores: Tensor, tokens: Tensor, begin: int, group: int) -> Tensor | None:
        """(rows, 1) bool: rows of `scores` (rows, vocabulary) that end here; None: none does, as far as is known.

        Args:
            scores: logits or log-probabilities of the next token, after every other rule.
            tokens: (rows, steps), the prompt and what is written so far.
            begin: length of the prompt.
            group: hypotheses of each clip, the best of which comes first.
        """
        step = tokens.shape[1] - begin
        if step <= 0:
            self._ended = None
        if step <= 1:
            last = tokens[:, -1]
            starting = (last >= self.starts.start) & (last < self.starts.stop)
            ending = starting & (scores.argmax(-1) == self.end) & ~shut(self.model, len(scores), scores.device)
            ending = ending[::group].repeat_interleave(group)
            known = self._ended is not None and self._ended.shape == ending.shape
            self._ended = self._ended | ending if known and self._ended is not None else ending
        ended = self._ended
        if ended is None or len(ended) != len(scores):
            return None
        if ended.device.type == "cpu" and not ended.any():  # where asking for a number is free
            return None
        return ended[:, None]

    def others(self, scores: Tensor) -> Tensor:
        """(vocabulary,) bool: every token but the end of text."""
        return torch.arange(scores.shape[-1], device=scores.device) != self.end
