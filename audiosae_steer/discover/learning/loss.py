"""Losses of learned amounts: end of text on non-speech, and divergence from the unsteered model on speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .decoder import hidden, logits

MARGIN = 3.0
"""Nats by which a token of the text should stay likelier than end-of-text, unless it never was."""


class SpeechTarget(NamedTuple):
    """A clip with speech, and the unsteered model's tokens for it."""

    x: Tensor
    """(frames, d_model) float16, the residual at the edited layer."""
    timed: tuple[int, ...]
    """Tokens with timestamps, without the end."""
    untimed: tuple[int, ...]
    """Tokens without."""

    def tokens(self, timed: bool) -> list[int]:
        """Tokens of one mode, without the end."""
        return list(self.timed if timed else self.untimed)


class Constants(NamedTuple):
    """Vectors that are added to the residuals of every clip."""

    encoder: Tensor
    """(d_model,) at the output of the edited encoder layer, on every frame."""
    decoder: Tensor | None = None
    """(decoder layers, d_model) at the output of each decoder layer."""
    first: bool = False
    """In the decoder, only at the step that writes the first token of the text, not on every token."""


class Divergence(NamedTuple):
    """Divergence between steered and unsteered distributions, in nats."""

    per_token: Tensor
    """() mean over all tokens."""
    at_start: Tensor
    """() mean over the clips of that at the first token of the text, where a clip is lost."""
    cut: Tensor
    """() mean over the clips of how far, in all, end-of-text comes nearer than `MARGIN` to the token of the text: where
    it wins, the rest of the text is lost, which a mean over tokens hardly shows."""


class Objective:
    """Losses of constants that are added after one encoder layer, and perhaps after the decoder's; differentiable.

    Args:
        model: an openai-whisper model, whose weights want no gradient.
        layer: encoder layer, counted from 1.
        noise: residuals (frames, d_model) of clips that should give no text.
        speech: clips whose text should stay.
    """

    def __init__(self, model: Any, layer: int, noise: Sequence[Tensor], speech: Sequence[SpeechTarget]) -> None:
        from whisper.decoding import DecodingOptions, DecodingTask

        self.model, self.layer, self.noise, self.speech = model, layer, noise, speech
        task = DecodingTask(model, DecodingOptions(language="en", fp16=False))
        self.tokenizer = task.tokenizer
        self.never = torch.zeros(model.dims.n_vocab)
        self.never[list(task._get_suppress_tokens())] = -1e4  # finite: 0 times infinity is NaN in a divergence
        self.unsteered: dict[tuple[int, bool], Tensor] = {}

    def silent(self, chosen: Sequence[int], added: Constants, timed: bool, language: str = "en") -> Tensor:
        """−log p(end of text) of each of the chosen noise clips, right at the start of its text: (clips,).

        With timestamps that is after the first one, which is where Whisper's rules allow it.
        """
        first = [*self._prompt(timed, language), *([self.tokenizer.timestamp_begin] if timed else [])]
        frames = self._frames(torch.stack([self.noise[i] for i in chosen]), added)
        states = hidden(
            self.model.decoder, torch.tensor([first] * len(chosen)), frames, added.decoder, self._only(added)
        )[:, -1]
        found = logits(self.model.decoder, states) + self.never
        if timed:  # Whisper's rules allow no second timestamp here
            found = found[:, : self.tokenizer.timestamp_begin]
        return -F.log_softmax(found, -1)[:, self.tokenizer.eot]

    def kept(self, chosen: Sequence[int], added: Constants, timed: bool) -> Divergence:
        """KL(unsteered ‖ steered) over the unsteered text of the chosen speech clips, its end included."""
        after = self._text_states(chosen, added, timed)
        new = [i for i in chosen if (i, timed) not in self.unsteered]
        if new:
            with torch.no_grad():
                states = self._text_states(new, None, timed)
            self.unsteered |= {(i, timed): own for i, own in zip(new, states, strict=True)}
        reference = torch.cat([self.unsteered[i, timed] for i in chosen])
        found, before = self._log_p(torch.cat(after)), self._log_p(reference)
        each = F.kl_div(found, before, log_target=True, reduction="none").sum(-1)
        starts = torch.tensor([0] + [len(states) for states in after[:-1]]).cumsum(0) + self._lead(timed)
        said = torch.cat([self._text_tokens(i, timed) for i in chosen])
        lead, led = (
            rows.gather(1, said[:, None])[:, 0] - rows[:, self.tokenizer.eot] for rows in (found, before)
        )  # fmt: skip
        cut = F.relu(led.clamp(max=MARGIN) - lead)[said != self.tokenizer.eot].sum() / len(chosen)
        return Divergence(each.mean(), each[starts + int(timed)].mean(), cut)

    def _text_tokens(self, clip: int, timed: bool) -> Tensor:
        """Tokens of the unsteered text at the positions of `_text_states`."""
        row = [*self._prompt(timed, "en"), *self.speech[clip].tokens(timed), self.tokenizer.eot]
        return torch.tensor(row[-len(self.speech[clip].tokens(timed)) - 1 - self._lead(timed) :])

    def _lead(self, timed: bool) -> int:
        """Positions before that of the first token, where a multilingual model chooses the language, which counts."""
        return len(self._prompt(timed, "en")) - 1 if self.model.is_multilingual else 0

    def _text_states(self, chosen: Sequence[int], added: Constants | None, timed: bool) -> list[Tensor]:
        """Hidden states of each clip from the one that chooses its language, or its first token, to its end."""
        prompt = self._prompt(timed, "en")
        rows = [[*prompt, *self.speech[i].tokens(timed)] for i in chosen]
        longest = max(map(len, rows))
        padded = torch.tensor([row + [self.tokenizer.eot] * (longest - len(row)) for row in rows])
        frames = self._frames(torch.stack([self.speech[i].x for i in chosen]), added)
        decoder = None if added is None else added.decoder
        states = hidden(self.model.decoder, padded, frames, decoder, None if added is None else self._only(added))
        start = len(prompt) - 1 - self._lead(timed)
        return [found[start : len(row)] for found, row in zip(states, rows, strict=True)]

    def _only(self, added: Constants) -> int | None:
        """Position before the first token of a text: that of a timestamp, or of the sign for none."""
        return len(self.tokenizer.sot_sequence) if added.first else None

    def _log_p(self, states: Tensor) -> Tensor:
        return F.log_softmax(logits(self.model.decoder, states) + self.never, -1)

    def _prompt(self, timed: bool, language: str) -> list[int]:
        start = list(self.tokenizer.sot_sequence)
        if self.model.is_multilingual:
            start[1] = self.tokenizer.to_language_token(language)
        return start if timed else [*start, self.tokenizer.no_timestamps]

    def _frames(self, x: Tensor, added: Constants | None) -> Tensor:
        x = x.float() if added is None else x.float() + added.encoder
        with torch.autocast(x.device.type, torch.bfloat16):  # three times as fast on CPUs that have it
            for block in self.model.encoder.blocks[self.layer :]:
                x = block(x)
        frames: Tensor = self.model.encoder.ln_post(x.float())
        return frames.bfloat16()
