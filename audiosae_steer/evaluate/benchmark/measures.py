"""The benchmark's measures: from what arms wrote to shares, rates and their 95 % intervals, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..metrics.rates import reduction, share, wrote
from ..metrics.wer import Difference, WordErrors, rate_difference, rate_interval, word_errors
from ..transcription.from_residuals import Written
from .material import Sound, words

DETECTED = 0.5
"""Clips with a no_speech_prob below it count as detected, in the papers."""
RESAMPLES = 2000


def of_noise(sounds: Sequence[Sound], before: Sequence[Written], after: Sequence[Written]) -> dict[str, Any]:
    """What is written where nobody speaks.

    `text` is HR-raw (any text, Whisper's filters off), `filtered` HR (filters on), `words` more than punctuation,
    `detected` DR (no_speech_prob < 0.5): each with how often before and after, the shares' Wilson intervals, and the
    reduction. `words_per_minute` has a bootstrap interval over clips.
    """
    kinds: dict[str, Callable[[Written], bool]] = {
        "text": lambda one: wrote(one.text),
        "filtered": lambda one: wrote(one.filtered),
        "words": lambda one: words(one.text) > 0,
        "detected": lambda one: one.no_speech_prob < DETECTED,
    }
    found: dict[str, Any] = {"clips": len(sounds)}
    for name, holds in kinds.items():
        found[name] = _changed([holds(one) for one in before], [holds(one) for one in after])
    counts = [words(one.text) for one in after]
    found["words_per_minute"] = _per_minute(counts, [sound.seconds for sound in sounds])
    found["by_source"] = {
        source: [sum(wrote(after[i].text) for i in chosen), len(chosen)] for source, chosen in _sources(sounds).items()
    }
    return found


def of_speech(sounds: Sequence[Sound], before: Sequence[Written], after: Sequence[Written]) -> dict[str, Any]:
    """What becomes of speech: WER, deletions and change on clips with a text, and of all how many are blanked.

    `new` counts clips that are blanked and were not before. Rates have bootstrap intervals over utterances, the change
    a paired one.
    """
    empty_before, empty = ([not wrote(one.text) for one in rows] for rows in (before, after))
    blanked = share(empty)
    found: dict[str, Any] = {
        "clips": len(sounds),
        "blanked": list(blanked),
        "new": sum(now and not then for then, now in zip(empty_before, empty, strict=True)),
        "detected": sum(one.no_speech_prob < DETECTED for one in after),
        "wer": None,
    }
    spoken = [i for i, sound in enumerate(sounds) if sound.text]
    if not spoken:
        return found
    for name, field in (("wer", "text"), ("wer_filtered", "filtered")):
        first, last = (_errors(sounds, rows, spoken, field) for rows in (before, after))
        found[name] = rate(first, last)
    found["by_source"] = {}
    for source, chosen in _sources([sounds[i] for i in spoken]).items():
        own = _errors(sounds, after, [spoken[i] for i in chosen], "text")
        found["by_source"][source] = [own.rate, len(chosen)]
    return found


def rate(before: WordErrors, after: WordErrors) -> dict[str, Any]:
    """A word error rate with its interval, and its change against another on the same utterances.

    `capped_change` is that of `WordErrors.capped`, which loops do not rule.
    """
    low, high = rate_interval(after)
    none = Difference(0.0, 0.0, 0.0)
    change, capped = (
        rate_difference(first, last) if first != last else none
        for first, last in ((before, after), (before.capped, after.capped))
    )
    return {
        "value": after.rate,
        "low": low,
        "high": high,
        "change": list(change),
        "capped": after.capped.rate,
        "capped_change": list(capped),
        "deletions": after.deletions,
        "new_deletions": after.deletions - before.deletions,
        "utterances": len(after.words),
        "words": sum(after.words),
    }


def spread_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and range of HR-raw, WER change and blanked clips over draws, each as `of_noise` and `of_speech` give it."""
    found: dict[str, Any] = {"draws": len(rows)}
    texts = [_ratio(row["noise"]["text"]["after"]) for row in rows]
    found["text"] = [float(np.mean(texts)), min(texts), max(texts)]
    for name, key in (("wer_change", "change"), ("capped_change", "capped_change")):
        changes = [row["speech"]["wer"][key][0] for row in rows if row["speech"]["wer"]]
        if changes:
            found[name] = [float(np.mean(changes)), min(changes), max(changes)]
    found["blanked"] = [min(r["speech"]["blanked"][0] for r in rows), max(r["speech"]["blanked"][0] for r in rows)]
    return found


def _changed(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    found = reduction(before, after)
    numbers = [found.value, found.low, found.high] if found.before.hits else None
    return {"before": list(found.before), "after": list(found.after), "new": found.new, "reduction": numbers}


def _per_minute(counts: Sequence[int], seconds: Sequence[float]) -> list[float]:
    number, minutes = np.array(counts, float), np.array(seconds) / 60
    picks = np.random.default_rng(0).integers(len(number), size=(RESAMPLES, len(number)))
    rates = number[picks].sum(1) / minutes[picks].sum(1)
    return [float(number.sum() / minutes.sum()), *(float(q) for q in np.quantile(rates, (0.025, 0.975)))]


def _errors(sounds: Sequence[Sound], rows: Sequence[Written], chosen: Sequence[int], field: str) -> WordErrors:
    return word_errors([str(sounds[i].text) for i in chosen], [str(getattr(rows[i], field)) for i in chosen])


def _sources(sounds: Sequence[Sound]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, sound in enumerate(sounds):
        found.setdefault(sound.source, []).append(i)
    return found


def _ratio(hits: Sequence[float]) -> float:
    return hits[0] / max(hits[1], 1)
