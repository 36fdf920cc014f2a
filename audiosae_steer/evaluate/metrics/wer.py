"""Word error rate, by jiwer, on texts normalised as Whisper's authors do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from ...errors import AudioError, MissingExtraError


class WordErrors(NamedTuple):
    """Errors over a set of utterances."""

    errors: tuple[int, ...]
    """Substitutions, deletions and insertions of each utterance."""
    words: tuple[int, ...]
    """Words of each reference."""
    deletions: int
    """Words lost, in all."""

    @property
    def rate(self) -> float:
        """Errors over words; 0.05 is 5 %."""
        return sum(self.errors) / max(sum(self.words), 1)

    @property
    def capped(self) -> WordErrors:
        """The same with at most as many errors for an utterance as it has words, so that one on which decoding loops
        counts as lost, not for hundreds of errors."""
        return self._replace(errors=tuple(map(min, self.errors, self.words)))


class Difference(NamedTuple):
    """A paired difference of rates, with its 95 % interval."""

    value: float
    """Second minus first."""
    low: float
    """2.5th percentile of the bootstrap."""
    high: float
    """97.5th percentile."""


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Word errors of hypotheses against references, both put through Whisper's English normaliser.

    Raises:
        AudioError: there are no utterances, or not as many hypotheses as references.
        MissingExtraError: jiwer is not installed.
    """
    if not references or len(references) != len(hypotheses):
        raise AudioError(
            f"{len(references)} references and {len(hypotheses)} hypotheses: expected the same number, not 0"
        )
    try:
        import jiwer
    except ImportError as error:
        raise MissingExtraError("word error rates need jiwer; run: pip install 'audiosae-steer[evaluate]'") from error
    normalise = normaliser()
    errors, words, deletions = [], [], 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        said, written = normalise(reference), normalise(hypothesis)
        if not said:
            errors.append(len(written.split()))
            words.append(0)
            continue
        found = jiwer.process_words(said, written)
        errors.append(found.substitutions + found.deletions + found.insertions)
        words.append(len(said.split()))
        deletions += found.deletions
    return WordErrors(tuple(errors), tuple(words), deletions)


def rate_interval(found: WordErrors, *, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the rate, over utterances (Bisani & Ney, ICASSP 2004)."""
    errors, words = np.array(found.errors), np.array(found.words)
    picks = np.random.default_rng(seed).integers(len(errors), size=(draws, len(errors)))
    rates = errors[picks].sum(1) / np.maximum(words[picks].sum(1), 1)
    return float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975))


def rate_difference(before: WordErrors, after: WordErrors, *, draws: int = 2000, seed: int = 0) -> Difference:
    """after − before, on the same utterances, with its paired bootstrap interval."""
    words = np.array(before.words)
    change = np.array(after.errors) - np.array(before.errors)
    picks = np.random.default_rng(seed).integers(len(words), size=(draws, len(words)))
    changes = change[picks].sum(1) / np.maximum(words[picks].sum(1), 1)
    return Difference(after.rate - before.rate, float(np.quantile(changes, 0.025)), float(np.quantile(changes, 0.975)))


@cache
def normaliser() -> Callable[[str], str]:
    """Whisper's English normaliser, from whichever library is installed."""
    try:
        from whisper.normalizers import EnglishTextNormalizer

        found: Callable[[str], str] = EnglishTextNormalizer()
    except ImportError as error:
        raise MissingExtraError(
            "Whisper's text normaliser comes with openai-whisper; run: pip install 'audiosae-steer[whisper]'"
        ) from error
    return found
