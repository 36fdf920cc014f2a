"""Scores of a transcript of a recording in which speech and noise alternate: what was added, lost and written twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics.alignment import Pairs, Word, align, spread
from ..metrics.wer import normaliser
from ..transcription.transcribe import Transcript
from .long_form_score import score
from .long_recordings import LongFile

EDGE = 0.5
"""Seconds from the edge of a gap within which a word that is lost counts as lost there."""
TWICE = 2
"""Words in a row, at least, that are in the reference too, for them to be written twice."""


class MixedScore(NamedTuple):
    """Words of one transcript against what was said, and what else went wrong."""

    words: int
    """Said."""
    inserted: int
    deleted: int
    substituted: int
    twice: int
    """Inserted words that are part of two or more in a row that were said within the recording."""
    edge: int
    """Deleted words that were said within 0.5 s of the edge of a gap."""
    edge_words: int
    """Words said there."""
    loops: int
    """Segments that repeat themselves or each other."""
    gap_words: int
    """Words written in gaps, as `LongScore.gap_words`; inserted words are of misheard speech too."""
    gap_seconds: float
    drift: float
    """Seconds, as `LongScore.drift`; NaN of none."""

    @property
    def errors(self) -> int:
        """Of any kind."""
        return self.inserted + self.deleted + self.substituted

    @property
    def capped(self) -> int:
        """Errors, no more than there are words: one endless loop counts as a recording that is lost."""
        return min(self.errors, self.words)


def score_mixed(transcript: Transcript, file: LongFile) -> MixedScore:
    """Score a transcript of a window or a recording.

    Words are aligned by fewest edits and then by time, so that of two copies of a sentence the one at the right place
    counts as said, and the other as inserted. Times of words are those of their utterance or segment, spread evenly.

    Raises:
        MissingExtraError: jiwer or openai-whisper, whose normaliser is used, is not installed.
    """
    normalise = normaliser()
    said = spread([(p.start, p.end, normalise(str(p.text))) for p in file.speech])
    written = spread([(s.start, s.end, normalise(s.text)) for s in transcript.segments])
    pairs = align(said, written)
    lost = np.setdiff1d(np.arange(len(said)), pairs.said)
    near = _near_gaps(said, file)
    general = score(transcript, file)
    return MixedScore(
        words=len(said),
        inserted=int((pairs.said < 0).sum()),
        deleted=len(lost),
        substituted=int(((pairs.said >= 0) & ~pairs.equal).sum()),
        twice=_twice(said, written, pairs),
        edge=int(near[lost].sum()),
        edge_words=int(near.sum()),
        loops=general.loops,
        gap_words=general.gap_words,
        gap_seconds=general.gap_seconds,
        drift=general.drift,
    )


def _near_gaps(said: Sequence[Word], file: LongFile) -> NDArray[np.bool_]:
    """(words,) bool: said within 0.5 s of the beginning or the end of a gap."""
    edges = np.array([edge for gap in file.gaps for edge in (gap.start, gap.end)] or [np.inf])
    times = np.array([word.time for word in said])
    found: NDArray[np.bool_] = (np.abs(times[:, None] - edges[None]) <= EDGE).any(1) if len(said) else times > 0
    return found


def _twice(said: Sequence[Word], written: Sequence[Word], pairs: Pairs) -> int:
    """Inserted words that stand in a row with others, inserted too, as they do in the reference."""
    known = {tuple(word.text for word in said[i : i + TWICE]) for i in range(len(said) - TWICE + 1)}
    again: set[int] = set()
    for i in range(len(written) - TWICE + 1):
        run = range(i, i + TWICE)
        if all(pairs.said[j] < 0 for j in run) and tuple(written[j].text for j in run) in known:
            again.update(run)
    return len(again)
