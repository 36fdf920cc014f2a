"""Transcripts without the words and segments in which the model's gates heard no speech."""

from __future__ import annotations

from ...errors import SteeringError
from .evidence import hearing
from .transcribe import Segment, Transcript
from .words import Word

ENOUGH = 0.3
"""Seconds of speech, about a word's, that keep a word or segment whatever its share: the times that Whisper gives to
the last word before a gap, and to segments, may go on through the gap."""


def check_share(least: float) -> None:
    """Refuse what is no share of time to ask for.

    Raises:
        SteeringError: it is not above 0 and up to 1.
    """
    if not 0 < least <= 1:
        raise SteeringError(
            f"the least share of speech is {least:g}; expected a number above 0 and up to 1, such as 0.5"
        )


def drop_unheard(transcript: Transcript, least: float) -> Transcript:
    """Leave out words in less than the share `least` of whose time the gates heard speech; without words, segments.

    What is left out is kept in `dropped`. What has 0.3 s of speech or more stays, since Whisper's times of words and
    segments may go on through a gap beside them; so does what has no evidence.

    Raises:
        SteeringError: `least` is not above 0 and up to 1, or no gate told speech by frame.
    """
    check_share(least)
    if not hearing(transcript.gates):
        raise SteeringError(
            "no gate told where somebody speaks while this was transcribed; steer the model by a recipe with a "
            "timestamp gate, such as no-false-speech"
        )

    def is_unheard(part: Word | Segment) -> bool:
        return part.speech is not None and part.speech < least and part.speech * (part.end - part.start) < ENOUGH

    kept: list[Segment] = []
    dropped: list[Word | Segment] = []
    for segment in transcript.segments:
        parts = segment.words or (segment,)
        lost = [part for part in parts if is_unheard(part)]
        dropped += lost
        if not lost:
            kept.append(segment)
        elif len(lost) < len(parts):
            kept.append(_without(segment, tuple(word for word in segment.words or () if not is_unheard(word))))
    if not dropped:
        return transcript
    left = Transcript.of(kept, transcript.language, transcript.windows).with_gates(transcript.gates)
    return left._replace(dropped=(*transcript.dropped, *dropped))


def _without(segment: Segment, words: tuple[Word, ...]) -> Segment:
    """A segment of these of its words; it begins and ends with them where its first and last are gone."""
    own = segment.words or words
    return segment._replace(
        start=segment.start if words[0] is own[0] else words[0].start,
        end=segment.end if words[-1] is own[-1] else words[-1].end,
        text="".join(word.text for word in words),
        words=words,
    )
