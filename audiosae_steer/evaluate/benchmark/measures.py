"""Measures of the benchmark: shares and rates of the texts that arms write, with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..metrics.rates import reduction, share, wrote
from ..metrics.wer import Difference, WordErrors, rate_difference, rate_interval, word_errors
from ..transcription.from_residuals import Written
from .bench_clips import BenchClip, words
from .results import ArmResult, ErrorRate, Interval, NoiseResult, RandomDraws, ShareChange, SpeechResult, Spread

DETECTED = 0.5
"""Clips with a no_speech_prob below it count as detected, in the papers."""
RESAMPLES = 2000
"""Bootstrap resamples behind the interval of words per minute."""


def of_noise(clips: Sequence[BenchClip], before: Sequence[Written], after: Sequence[Written]) -> NoiseResult:
    """Text on clips without speech, of the unsteered model (before) and of an arm (after)."""

    def changed(holds: Callable[[Written], bool]) -> ShareChange:
        found = reduction([holds(one) for one in before], [holds(one) for one in after])
        rarer = Interval(found.value, found.low, found.high) if found.before.hits else None
        return ShareChange(before=found.before, after=found.after, new=found.new, reduction=rarer)

    counts = [words(one.text) for one in after]
    return NoiseResult(
        clips=len(clips),
        text=changed(lambda one: wrote(one.text)),
        filtered=changed(lambda one: wrote(one.filtered)),
        words=changed(lambda one: words(one.text) > 0),
        detected=changed(lambda one: one.no_speech_prob < DETECTED),
        words_per_minute=_per_minute(counts, [clip.seconds for clip in clips]),
        by_source={
            source: (sum(wrote(after[i].text) for i in chosen), len(chosen))
            for source, chosen in _sources(clips).items()
        },
    )


def of_speech(clips: Sequence[BenchClip], before: Sequence[Written], after: Sequence[Written]) -> SpeechResult:
    """Losses on speech of an arm (after) against the unsteered model (before): blanked clips, and of clips with a known
    text word errors."""
    empty_before, empty = ([not wrote(one.text) for one in rows] for rows in (before, after))
    spoken = [i for i, clip in enumerate(clips) if clip.text]
    wer, filtered = (
        rate(*(_errors(clips, rows, spoken, field) for rows in (before, after))) if spoken else None
        for field in ("text", "filtered")
    )
    return SpeechResult(
        clips=len(clips),
        blanked=share(empty),
        new=sum(now and not then for then, now in zip(empty_before, empty, strict=True)),
        detected=sum(one.no_speech_prob < DETECTED for one in after),
        wer=wer,
        wer_filtered=filtered,
        by_source=_rates_by_source(clips, after, spoken) if spoken else None,
    )


def rate(before: WordErrors, after: WordErrors) -> ErrorRate:
    """A word error rate with its interval, and its change against another on the same utterances."""
    low, high = rate_interval(after)
    none = Difference(0.0, 0.0, 0.0)
    change, capped = (
        rate_difference(first, last) if first != last else none
        for first, last in ((before, after), (before.capped, after.capped))
    )
    return ErrorRate(
        value=after.rate,
        low=low,
        high=high,
        change=change,
        capped=after.capped.rate,
        capped_change=capped,
        deletions=after.deletions,
        new_deletions=after.deletions - before.deletions,
        utterances=len(after.words),
        words=sum(after.words),
    )


def spread_of(rows: Sequence[ArmResult], clips: int) -> RandomDraws:
    """Mean and range over draws of text, WER change and blanked clips; `clips` of each kind were measured."""
    texts = [row.noise.text.after for row in rows]
    rates = [row.speech.wer for row in rows if row.speech.wer is not None]
    blanked = [row.speech.blanked.hits for row in rows]
    return RandomDraws(
        draws=len(rows),
        text=_spread([hits / max(count, 1) for hits, count, _, _ in texts]),
        wer_change=_spread([each.change.value for each in rates]) if rates else None,
        capped_change=_spread([each.capped_change.value for each in rates]) if rates else None,
        blanked=(min(blanked), max(blanked)),
        clips=clips,
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), min(values), max(values))


def _per_minute(counts: Sequence[int], seconds: Sequence[float]) -> Interval:
    number, minutes = np.array(counts, float), np.array(seconds) / 60
    picks = np.random.default_rng(0).integers(len(number), size=(RESAMPLES, len(number)))
    rates = number[picks].sum(1) / minutes[picks].sum(1)
    low, high = np.quantile(rates, (0.025, 0.975))
    return Interval(float(number.sum() / minutes.sum()), float(low), float(high))


def _errors(clips: Sequence[BenchClip], rows: Sequence[Written], chosen: Sequence[int], field: str) -> WordErrors:
    return word_errors([str(clips[i].text) for i in chosen], [str(getattr(rows[i], field)) for i in chosen])


def _rates_by_source(
    clips: Sequence[BenchClip], rows: Sequence[Written], spoken: Sequence[int]
) -> dict[str, tuple[float, int]]:
    """Word error rate and utterances of each source."""
    chosen = {source: [spoken[i] for i in own] for source, own in _sources([clips[i] for i in spoken]).items()}
    return {source: (_errors(clips, rows, own, "text").rate, len(own)) for source, own in chosen.items()}


def _sources(clips: Sequence[BenchClip]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, clip in enumerate(clips):
        found.setdefault(clip.source, []).append(i)
    return found
