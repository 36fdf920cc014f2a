"""Words and starts of segments that either library's Whisper gives, in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...data.audio import SAMPLE_RATE, WINDOW
from ...models.sites import TIMESTAMPS

SLACK = 0.5
"""Seconds by which a word may go beyond its segment."""
TIMESTAMP_SECONDS = WINDOW / SAMPLE_RATE / (TIMESTAMPS - 1)
"""Seconds from one timestamp that Whisper can write to the next."""


class Word(NamedTuple):
    """One word, with the punctuation at it."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    """As written; it begins with a space as a rule."""
    speech: float | None = None
    """Share of its time in which the model's gates heard speech, 0 to 1; None where no gate tells."""


def words_of_openai(segment: dict[str, Any]) -> tuple[Word, ...] | None:
    """Words of a segment of `whisper.transcribe`, if it has them."""
    if "words" not in segment:
        return None
    return tuple(Word(float(word["start"]), float(word["end"]), word["word"]) for word in segment["words"])


def segment_start(segment: dict[str, Any], vocabulary: int) -> float:
    """Start of a segment of openai-whisper in seconds, by the timestamp that the model wrote for it.

    `whisper.transcribe` lets the only segment of a window begin with the window, whatever the model wrote, so that a
    subtitle would stand through the noise before it.
    """
    start = float(segment["start"])
    first = int(next(iter(segment["tokens"]), 0))
    if "words" in segment or first < vocabulary - TIMESTAMPS:
        return start
    written = float(segment["seek"]) / 100 + (first - (vocabulary - TIMESTAMPS)) * TIMESTAMP_SECONDS
    return min(max(start, written), float(segment["end"]))


def segment_start_of_transformers(segment: dict[str, Any], tokenizer: Any) -> float:
    """Start of a segment of transformers' `generate` in seconds, by the timestamps that the model wrote for it.

    As `whisper.transcribe`, it lets a window's only segment begin with the window.
    """
    zero = tokenizer.convert_tokens_to_ids("<|0.00|>")
    tokens = [int(token) for token in segment["tokens"]]
    times = [token for token in tokens if zero <= token < zero + TIMESTAMPS]
    start, end = float(segment["start"]), float(segment["end"])
    if len(times) < 2 or tokens[0] != times[0]:
        return start
    return min(max(start, end - (times[-1] - times[0]) * TIMESTAMP_SECONDS), end)


def words_of_transformers(
    tokens: Sequence[int], times: Sequence[float], tokenizer: Any, language: str | None, span: tuple[float, float]
) -> tuple[Word, ...]:
    """Words of a segment of transformers' `generate`.

    Args:
        tokens: of the segment, (n,), timestamps and other special tokens included.
        times: seconds at which each ends, (n,), as transformers' own decoding to words reads them.
        tokenizer: transformers' `WhisperTokenizer`.
        language: code; languages without spaces are divided by characters. None: by spaces.
        span: (start, end) of the segment in seconds. It bounds its first and last word where these go more than 0.5 s
            beyond, through a gap, as openai-whisper has it.
    """
    from transformers.models.whisper import tokenization_whisper as whisper

    special = tokenizer.convert_tokens_to_ids("<|endoftext|>")  # it and whatever has a higher number is no text
    places = [n for n, token in enumerate(tokens) if token < special]
    name = whisper.LANGUAGES.get(language or "en", "english")
    texts, _, indices = whisper._combine_tokens_into_words(tokenizer, [tokens[n] for n in places], name)
    found = []
    for text, index in zip(texts, indices, strict=True):
        first, last = places[index[0]], places[index[-1]]
        start, end = times[first - 1] if first else span[0], times[last]
        found.append(Word(round(start, 3), round(max(start, end), 3), text))
    if found and found[-1].start < span[1] < found[-1].end - SLACK:
        found[-1] = found[-1]._replace(end=round(span[1], 3))
    if found and found[0].start + SLACK < span[0] < found[0].end:
        found[0] = found[0]._replace(start=round(span[0], 3))
    return tuple(found)
