"""Greedy decoding of several 30-s windows at once, each to the text that it gets alone.

Rows of a batch do not depend on each other, but for rounding: a matrix product of one row adds up in another order than
one of several. Some 2e-5 of a logit is all that it changes, in float32, so a choice that is not nearly a tie comes out
alike. A window with a choice that is one is decoded again, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor
from whisper.decoding import DecodingResult, DecodingTask
from whisper.utils import compression_ratio

from ..evaluate.transcription.decoding import LOGPROB, NO_SPEECH

NEAR = 1e-3
"""Logits, or a window's measures and Whisper's thresholds for them, that differ by less are nearly a tie."""

Settings = Callable[[Sequence[int]], AbstractContextManager[Any]]
"""Context with the settings of these windows of the batch, in this order."""


class WindowBatch(DecodingTask):  # type: ignore[misc]
    """Loop of openai-whisper's `DecodingTask`, greedy, which windows leave as soon as their text ends.

    Args:
        model: an openai-whisper model, whose steerings' rules hold here too.
        options: of all windows: temperature 0, no beams.
        settings: of the windows at work.
        is_left: nobody waits any more for the window of this number.
    """

    def encode(self, mels: Tensor) -> Tensor:
        """Encodings (windows, 1500, d) of log-mel spectrograms (windows, mels, 3000)."""
        encoding: Tensor = self._get_audio_features(mels)
        return encoding

    @torch.no_grad()
    def texts(
        self,
        encoding: Tensor,
        settings: Settings,
        done: Callable[[int, DecodingResult], None],
        is_left: Callable[[int], bool],
    ) -> list[int]:
        """Decode windows, and hand over each text when it ends.

        Args:
            encoding: (windows, 1500, d), as the gates have seen it made.
            settings: of the windows that are still at work.
            done: takes the number of a window and its result.
            is_left: True for a window that nobody waits for any more, which leaves without a result.

        Returns:
            Numbers of the windows without a result that are to be decoded alone.
        """
        rows, again, alone = list(range(len(encoding))), [], len(encoding) == 1
        tokens = torch.tensor([self.initial_tokens], device=encoding.device).repeat(len(rows), 1)
        sums = torch.zeros(len(rows), device=encoding.device)
        near = torch.zeros(len(rows), dtype=torch.bool, device=encoding.device)
        silent = [float("nan")] * len(rows)
        with ExitStack() as stack:
            stack.callback(self.inference.cleanup_caching)
            within = stack.enter_context(ExitStack())
            within.enter_context(settings(rows))
            for step in range(self.sample_len):
                logits = self.inference.logits(tokens, encoding)
                if step == 0:
                    silent = self._no_speech(logits)
                logits = logits[:, -1]
                if alone:
                    self._rule(logits, tokens)
                else:
                    near |= self._choose(logits, tokens)
                tokens, _ = self.decoder.update(tokens, logits, sums)
                over = step + 1 == self.sample_len or tokens.shape[-1] > self.n_ctx
                ended = [over or last == self.tokenizer.eot for last in tokens[:, -1].tolist()]
                left = [is_left(row) for row in rows]
                for place, row in enumerate(rows):
                    if ended[place] and not left[place]:
                        result = self._result(tokens[place].tolist(), float(sums[place]), silent[row])
                        if alone or not (bool(near[place]) or _is_near(result)):
                            done(row, result)
                        else:
                            again.append(row)
                stay = [place for place in range(len(rows)) if not (ended[place] or left[place])]
                if not stay:
                    break
                if len(stay) < len(rows):
                    rows = [rows[place] for place in stay]
                    encoding, tokens, sums, near = encoding[stay], tokens[stay], sums[stay], near[stay]
                    for module, kept in self.inference.kv_cache.items():
                        self.inference.kv_cache[module] = kept[stay]
                    within.close()
                    within.enter_context(settings(rows))
        return again

    def _no_speech(self, logits: Tensor) -> list[float]:
        """Whisper's probability that each window holds no speech, of its first pass's logits."""
        if self.tokenizer.no_speech is None:
            return [float("nan")] * len(logits)
        found: list[float] = logits[:, self.sot_index].float().softmax(-1)[:, self.tokenizer.no_speech].tolist()
        return found

    def _rule(self, logits: Tensor, tokens: Tensor) -> None:
        for rule in self.logit_filters:
            rule.apply(logits, tokens)

    def _choose(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Apply the rules to logits (rows, vocabulary), in place; (rows,) bool: the choice is nearly a tie.

        The last of them takes a timestamp if all together are likelier than any one token of text that may follow.
        """
        near = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        timed = not self.options.without_timestamps
        for rule in self.logit_filters[: -1 if timed else None]:
            rule.apply(logits, tokens)
        if timed:
            first, end = self.tokenizer.timestamp_begin, self.tokenizer.eot
            best = logits[:, :first].amax(1), logits[:, end:first].amax(1)  # the latter after a segment's end
            self.logit_filters[-1].apply(logits, tokens)
            stamps = logits[:, first:].logsumexp(1)
            for text in best:
                near |= (stamps - text).abs() < NEAR
        top = logits.topk(2).values
        return near | (top[:, 0] - top[:, 1] < NEAR)

    def _result(self, row: list[int], total: float, no_speech: float) -> DecodingResult:
        tokens = row[self.sample_begin :]
        if self.tokenizer.eot in tokens:
            tokens = tokens[: tokens.index(self.tokenizer.eot)]
        text = self.tokenizer.decode(tokens).strip()
        return DecodingResult(
            audio_features=None,
            language=self.options.language,
            tokens=tokens,
            text=text,
            avg_logprob=total / (len(tokens) + 1),
            no_speech_prob=no_speech,
            temperature=self.options.temperature,
            compression_ratio=compression_ratio(text),
        )


def _is_near(result: DecodingResult) -> bool:
    """A measure of the window is nearly at Whisper's threshold."""
    distance = min(abs(result.avg_logprob - LOGPROB), abs(result.no_speech_prob - NO_SPEECH))
    return bool(distance < NEAR)
