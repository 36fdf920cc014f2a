"""Words with their times, of segments that either library's Whisper gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Word(NamedTuple):
    """One word, with the punctuation at it."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    """As written; it begins with a space as a rule."""


def words_of_openai(segment: dict[str, Any]) -> tuple[Word, ...] | None:
    """Words of a segment of `whisper.transcribe`, if it has them."""
    if "words" not in segment:
        return None
    return tuple(Word(float(word["start"]), float(word["end"]), word["word"]) for word in segment["words"])


def words_of_transformers(
    tokens: Sequence[int], times: Sequence[float], tokenizer: Any, language: str | None
) -> tuple[Word, ...]:
    """Words of a segment of transformers' `generate`.

    Args:
        tokens: of the segment, (n,), timestamps and other special tokens included.
        times: seconds at which each begins, (n,).
        tokenizer: transformers' `WhisperTokenizer`.
        language: code; languages without spaces are divided by characters. None: by spaces.
    """
    from transformers.models.whisper import tokenization_whisper as whisper

    special = tokenizer.convert_tokens_to_ids("<|endoftext|>")  # it and whatever has a higher number is no text
    places = [n for n, token in enumerate(tokens) if token < special]
    name = whisper.LANGUAGES.get(language or "en", "english")
    texts, _, indices = whisper._combine_tokens_into_words(tokenizer, [tokens[n] for n in places], name)
    found = []
    for text, index in zip(texts, indices, strict=True):
        first, last = places[index[0]], places[index[-1]]
        start, end = times[first], times[min(last + 1, len(times) - 1)]
        found.append(Word(round(start, 3), round(max(start, end), 3), text))
    return tuple(found)
