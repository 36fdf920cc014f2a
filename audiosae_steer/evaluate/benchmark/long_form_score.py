"""Scores of a transcript of a long recording against its reference: words in gaps, loops, word errors, drift.

**Assignment of words.** Words are aligned to the reference with the fewest edits; of all alignments with that many,
the one is taken whose words agree best in time. A segment is *of a gap* if most of its span lies in a gap (whose first
and last half second count as speech's) and no more than half of its words match: such a segment's words are all
inserted in the gap, and the rest is aligned anew without them. So text at wrong times that was said is no text in a
gap. Of the other segments, words that the alignment inserts between two utterances (or before the first, or after the
last) count for the gap if the segment reaches 1 s or more into a gap, or lies in one for the most part; all other
inserted words are errors on speech.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ..metrics.alignment import Pairs, Word, align, neighbours, spread
from ..metrics.wer import WordErrors, normaliser, word_errors
from ..transcription.hf_pipeline import transcribe_by_pipeline
from ..transcription.transcribe import Segment, Transcript, transcribe
from ..transcription.vad import transcribe_with_vad
from .long_recordings import LongFile, Piece

How = Literal["transcribe", "pipeline", "vad"]

EDGE = 0.5
"""Seconds at the ends of a gap that count as speech's: timestamps are no better."""
REACH = 1.0
"""Seconds of a gap that a segment has to cover for its inserted words to be of the gap."""
REPEATS = 3
"""The same text so many times in a row is a loop."""
COMPRESSION = 2.4
"""Text that zlib packs better than this repeats itself; Whisper's own threshold."""
MOMENT = 1e-3
"""Seconds that a segment lasts at least; Whisper writes some that end where they begin."""


class LongScore(NamedTuple):
    """Scores of one transcript of a long recording."""

    gap_words: int
    """Words written in gaps."""
    gap_seconds: float
    """Seconds of gaps."""
    loops: int
    """Segments, mostly of words that were not said, that repeat themselves: the same text three times or more, in one
    segment or in consecutive ones, or a compression ratio above 2.4."""
    whole: WordErrors
    """Of the whole text against all that is said, as one utterance: the usual word error rate, gaps included."""
    spoken: WordErrors
    """Of every utterance, words in gaps left out."""
    drift: float
    """Mean of |start of a segment − start of its utterance|, in seconds, over utterances whose first or second word
    begins a segment; NaN of none."""
    drift_95: float
    """95th percentile of the same."""
    timed: int
    """Utterances over which the drift was taken."""
    by_kind: dict[str, tuple[int, float]]
    """Words and seconds by what fills the gaps."""
    false: tuple[Segment, ...]
    """The segments of gaps, those too of which no word is left (".", "[Music]"): what to look at."""

    @property
    def words_per_minute(self) -> float:
        """Words per minute of gap."""
        return self.gap_words / max(self.gap_seconds / 60, 1e-9)

    @property
    def wer(self) -> float:
        """Word error rate of the whole text."""
        return self.whole.rate

    @property
    def deletions(self) -> int:
        """Words that were said and not written."""
        return self.spoken.deletions


def score(transcript: Transcript, file: LongFile) -> LongScore:
    """Score a transcript by the rule at the head of this module.

    Raises:
        MissingExtraError: jiwer or openai-whisper, whose normaliser is used, is not installed.
    """
    normalise = normaliser()
    segments = transcript.segments
    said = spread([(p.start, p.end, normalise(str(p.text))) for p in file.speech])
    texts = [normalise(s.text) for s in segments]
    written = spread([(s.start, s.end, text) for s, text in zip(segments, texts, strict=True)])
    regions = _regions(file)
    in_gaps = [_overlap(s, regions) for s in segments]
    mostly = [gap > max(s.end - s.start, MOMENT) / 2 for s, gap in zip(segments, in_gaps, strict=True)]

    counts = np.bincount(np.array([w.owner for w in written], np.int64), minlength=len(segments))
    hits = _hits(align(said, written), written, len(segments))
    false = [m and bool(2 * h <= n) for m, h, n in zip(mostly, hits, counts, strict=True)]
    kept = [w for w in written if not false[w.owner]]
    pairs = align(said, kept)
    of_gaps, of_speech = _split(said, kept, pairs, mostly, in_gaps)
    gap_words = [w for w in written if false[w.owner]] + of_gaps

    drifts = _drifts(said, kept, pairs, file, segments)
    unsaid = [bool(2 * h < n or not n) for h, n in zip(_hits(pairs, kept, len(segments)), counts, strict=True)]
    return LongScore(
        gap_words=len(gap_words),
        gap_seconds=sum(gap.end - gap.start for gap in file.gaps),
        loops=_loops(segments, [t or s.text.strip() for s, t in zip(segments, texts, strict=True)], unsaid),
        whole=word_errors([" ".join(w.text for w in said)], [" ".join(w.text for w in written)]),
        spoken=_spoken(said, pairs, of_speech, len(file.speech)),
        drift=float(np.mean(drifts)) if drifts else float("nan"),
        drift_95=float(np.quantile(drifts, 0.95)) if drifts else float("nan"),
        timed=len(drifts),
        by_kind=_by_kind(gap_words, file.gaps),
        false=tuple(s for s, is_false in zip(segments, false, strict=True) if is_false),
    )


def run_long(
    model: Any,
    file: LongFile,
    *,
    processor: Any = None,
    how: How = "transcribe",
    language: str | None = "en",
    **options: Any,
) -> tuple[LongScore, float]:
    """Transcribe a long recording in one of the ways that people do, and score it: the score, and seconds it took.

    Args:
        model: a Whisper of either library, steered or not.
        file: the recording.
        processor: transformers' `WhisperProcessor`; needed for its models.
        how: `transcribe`: `whisper.transcribe`, or transformers' `generate` on the whole. `pipeline`: transformers'
            pipeline for speech recognition in chunks of 30 s. `vad`: `transcribe` of what Silero VAD leaves.
        language: code; None lets a multilingual model detect it.
        **options: of `transcribe`, `transcribe_with_vad` or `transcribe_by_pipeline`.

    Raises:
        SteeringError: an unknown way, or one that the model's library does not have.
        MissingExtraError: faster-whisper, transformers, jiwer or openai-whisper is not installed.
    """
    began = time.perf_counter()
    if how == "transcribe":
        found = transcribe(model, file.samples, processor=processor, language=language, **options)
    elif how == "vad":
        found = transcribe_with_vad(model, file.samples, processor=processor, language=language, **options)
    elif how == "pipeline":
        found = transcribe_by_pipeline(model, file.samples, processor, language=language, **options)
    else:
        raise SteeringError(f'how is {how!r}; expected "transcribe", "pipeline" or "vad"')
    seconds = time.perf_counter() - began
    return score(found, file), seconds


def _regions(file: LongFile) -> list[tuple[float, float]]:
    """Stretches in which text is false: the gaps, joined where they touch, less an edge beside speech; and all after
    the end."""
    found: list[tuple[float, float]] = []
    for gap in file.gaps:
        if found and found[-1][1] == gap.start:
            found[-1] = (found[-1][0], gap.end)
        else:
            found.append((gap.start, gap.end))
    end = file.pieces[-1].end if file.pieces else 0.0
    if not found or found[-1][1] < end:
        found.append((end, end))
    inner = [(start + EDGE * (start > 0), stop - EDGE * (stop < end)) for start, stop in found]
    inner[-1] = (inner[-1][0], float("inf"))
    return inner


def _overlap(segment: Segment, regions: Sequence[tuple[float, float]]) -> float:
    """Seconds of a segment in gaps; of one without length, a moment if it lies in one."""
    start, end = segment.start, max(segment.end, segment.start + MOMENT)
    return sum(max(0.0, min(end, last) - max(start, first)) for first, last in regions)


def _hits(pairs: Pairs, written: Sequence[Word], segments: int) -> NDArray[np.int64]:
    """Words of each segment that are in the reference."""
    owners = [w.owner for w, equal in zip(written, pairs.equal, strict=True) if equal]
    return np.bincount(np.array(owners, np.int64), minlength=segments)


def _split(
    said: Sequence[Word], kept: Sequence[Word], pairs: Pairs, mostly: Sequence[bool], in_gaps: Sequence[float]
) -> tuple[list[Word], list[int]]:
    """Of the words that the alignment inserts, those of gaps; and of the others the utterance each is counted with."""
    before, after = neighbours(pairs)
    of_gaps, of_speech = [], []
    for at in map(int, np.flatnonzero(pairs.said < 0)):
        left, right, word = int(before[at]), int(after[at]), kept[at]
        between = left < 0 or right < 0 or said[left].owner != said[right].owner
        if between and (mostly[word.owner] or in_gaps[word.owner] >= REACH):
            of_gaps.append(word)
        elif said:
            nearest = min((i for i in (left, right) if i >= 0), key=lambda i: abs(said[i].time - word.time), default=0)
            of_speech.append(said[nearest].owner)
        else:
            of_gaps.append(word)
    return of_gaps, of_speech


def _spoken(said: Sequence[Word], pairs: Pairs, inserted: Sequence[int], utterances: int) -> WordErrors:
    words, errors = [0] * utterances, [0] * utterances
    right = set(pairs.said[pairs.equal].tolist())
    for number, word in enumerate(said):
        words[word.owner] += 1
        errors[word.owner] += number not in right
    for owner in inserted:
        errors[owner] += 1
    return WordErrors(tuple(errors), tuple(words), len(said) - int((pairs.said >= 0).sum()))


def _drifts(
    said: Sequence[Word], kept: Sequence[Word], pairs: Pairs, file: LongFile, segments: Sequence[Segment]
) -> list[float]:
    """Of each utterance, where its first or second word is the first of a segment that matches."""
    firsts: dict[int, int] = {}
    for number, word in enumerate(said):
        firsts.setdefault(word.owner, number)
    found: dict[int, float] = {}
    begun = set()
    for word, at, equal in zip(kept, pairs.said.tolist(), pairs.equal, strict=True):
        if at < 0 or word.owner in begun:
            continue
        begun.add(word.owner)
        owner = said[at].owner
        if equal and at - firsts[owner] <= 1:
            found.setdefault(owner, abs(segments[word.owner].start - file.speech[owner].start))
    return list(found.values())


def _loops(segments: Sequence[Segment], texts: Sequence[str], unsaid: Sequence[bool]) -> int:
    """Segments that repeat themselves or each other."""
    found = 0
    for text, group in groupby(range(len(texts)), key=lambda i: texts[i]):
        run = list(group)
        words = text.split()
        again = len(run) >= REPEATS or any(
            len(words) % n == 0 and words == words[:n] * (len(words) // n) for n in range(1, len(words) // REPEATS + 1)
        )
        for i in run:
            raw = segments[i].text.encode()
            found += bool(unsaid[i] and (again or len(raw) / len(zlib.compress(raw)) > COMPRESSION))
    return found


def _by_kind(words: Sequence[Word], gaps: Sequence[Piece]) -> dict[str, tuple[int, float]]:
    found = {gap.kind: (0, 0.0) for gap in gaps}
    for gap in gaps:
        count, seconds = found[gap.kind]
        found[gap.kind] = (count, seconds + gap.end - gap.start)
    for word in words:
        if gaps:
            kind = min(gaps, key=lambda gap: max(gap.start - word.time, word.time - gap.end)).kind
            found[kind] = (found[kind][0] + 1, found[kind][1])
    return found
