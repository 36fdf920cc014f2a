"""openai-whisper's `DecodingTask`, under the rules that steerings of its model add: on empty texts, and on timestamps.

`model.decode`, `whisper.decode`, `transcribe` and clients that build tasks of their own all make one, and none of them
lets its rules be passed in. The class's constructor is replaced while a model is steered; tasks of other models are
made as ever.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..sites import timed_starts
from .empty_text import EmptyTextRule, allows, shut
from .timestamps import TimestampMask, limits

HOPELESS = 1e4
"""Taken from the logits of tokens that end up in no text; more than any text's log-probability, and finite."""

_lock = threading.Lock()
_holders = 0


def holders() -> int:
    """Steerings for which the constructor is replaced."""
    return _holders


def cover_tasks(model: nn.Module) -> Callable[[], None]:
    """Adapt tasks of models that are under such rules from now on; returns a function that ends that.

    It ends by itself when `model`, for which it is asked, is no more.
    """
    from whisper.decoding import DecodingTask

    global _holders
    with _lock:
        _holders += 1
        if _holders == 1:
            DecodingTask.__init__ = _adapting(DecodingTask.__init__)
    left = False

    def close() -> None:
        global _holders
        nonlocal left
        with _lock:
            if left:
                return
            left = True
            _holders -= 1
            theirs = getattr(DecodingTask.__init__, "_audiosae_steer_replaced", None)
            if _holders == 0 and theirs is not None:
                DecodingTask.__init__ = theirs

    weakref.finalize(model, close).atexit = False
    return close


def _adapting(constructor: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(constructor)
    def construct(task: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        constructor(task, model, *args, **kwargs)
        if allows(model):
            _allow_empty(task, model)
        if limits(model):
            _limit_timestamps(task, model)

    construct._audiosae_steer_replaced = constructor  # type: ignore[attr-defined]
    return construct


def _allow_empty(task: Any, model: Any) -> None:
    """Replace the rule against empty texts, and the ranker, which divides by a text's length."""
    from whisper.decoding import MaximumLikelihoodRanker, SuppressBlank

    if type(task.sequence_ranker) is MaximumLikelihoodRanker:
        task.sequence_ranker = _ranker(task.sequence_ranker.length_penalty)
    for number, each in enumerate(task.logit_filters):
        if type(each) is SuppressBlank:
            task.logit_filters[number] = _suppression(each, model)
    sampled = task.options.temperature != 0 or task.options.beam_size is not None
    if sampled and task.options.prefix is None:
        beams = task.options.beam_size or 1  # samples of one clip begin with timestamps of their own
        task.logit_filters.append(_Ending(model, task.tokenizer.eot, task.sample_begin, beams))


def _limit_timestamps(task: Any, model: Any) -> None:
    """Forbid timestamps before the rules that compare them with text do."""
    from whisper.decoding import ApplyTimestampRules

    for number, each in enumerate(task.logit_filters):
        if type(each) is ApplyTimestampRules:
            mask = TimestampMask(
                model, each.tokenizer.timestamp_begin, each.tokenizer.eot, each.max_initial_timestamp_index
            )
            each.max_initial_timestamp_index = None  # the mask has it
            task.logit_filters.insert(number, _Timestamps(mask, each.sample_begin))
            break


def _ranker(length_penalty: float | None) -> Any:
    """A ranker that can rank empty texts."""
    import numpy as np
    from whisper.decoding import MaximumLikelihoodRanker

    class Ranker(MaximumLikelihoodRanker):  # type: ignore[misc]
        def rank(self, tokens: list[list[Tensor]], sum_logprobs: list[list[float]]) -> list[int]:
            if self.length_penalty is not None or all(len(t) for group in tokens for t in group):
                ranks: list[int] = super().rank(tokens, sum_logprobs)
                return ranks
            groups = zip(tokens, sum_logprobs, strict=True)
            # an empty text has one token all the same, its end: that is the length it is divided by
            return [
                int(np.argmax([p / max(len(t), 1) for t, p in zip(group, scores, strict=True)]))
                for group, scores in groups
            ]

    return Ranker(length_penalty)


def _suppression(given: Any, model: Any) -> Any:
    """`SuppressBlank`, with the end of text forbidden only where a text must not be empty."""
    import torch
    from whisper.decoding import SuppressBlank

    class Suppress(SuppressBlank):  # type: ignore[misc]
        def apply(self, logits: Tensor, tokens: Tensor) -> None:
            end = logits[:, self.tokenizer.eot].clone()
            super().apply(logits, tokens)
            if tokens.shape[1] == self.sample_begin:
                forbidden = shut(model, len(tokens), logits.device)
                logits[:, self.tokenizer.eot] = end.masked_fill(forbidden, -torch.inf)

    return Suppress(given.tokenizer, given.sample_begin)


class _Ending:
    """A logit filter: `EmptyTextRule`."""

    def __init__(self, model: Any, end: int, begin: int, group: int) -> None:
        self.begin, self.group = begin, group
        self.rule = EmptyTextRule(model, end, timed_starts(model.dims.n_vocab))

    def apply(self, logits: Tensor, tokens: Tensor) -> None:
        """Make every token but the end of text hopeless in rows that end, in place.

        Not impossible: a search with patience goes on with the other beams, and sums of −inf would become NaN, which
        ranks first.
        """
        mask = self.rule.mask(logits, tokens, self.begin, self.group)
        if mask is not None:
            logits.sub_((mask & self.rule.others(logits)).to(logits.dtype), alpha=HOPELESS)


class _Timestamps:
    """A logit filter: `TimestampMask`."""

    def __init__(self, mask: TimestampMask, begin: int) -> None:
        self.mask, self.begin = mask, begin

    def apply(self, logits: Tensor, tokens: Tensor) -> None:
        """Forbid timestamps, in place."""
        self.mask.fill(logits, tokens, self.begin)
