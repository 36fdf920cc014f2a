"""The long files of the benchmark: text in the gaps of recordings of minutes, by the ways of transcription in use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics.wer import WordErrors
from .arms import TIMED, Arm, Masked, Steered
from .long_form_score import How, LongScore, run_long
from .long_recordings import LongFile
from .measures import rate
from .results import Interval, LongFileInfo, LongResult, LongResults
from .runner import Runner

LONG = ("unsteered", "learned", "clip-gated", "frame-gated", "both-gated", "vad", "vad-ours")
"""Curves whose marked arms run on long files."""


@dataclass(frozen=True, kw_only=True)
class FileScore:
    """An arm's `LongScore` of one recording, as the cache keeps it."""

    gap_words: int
    gap_seconds: float
    loops: int
    whole: tuple[int, int]
    """Word errors and words of the whole text."""
    spoken: WordErrors
    drift: tuple[float, float] | None
    """Mean and 95th percentile, in seconds; None of none."""
    timed: int
    by_kind: dict[str, tuple[int, float]]
    false: list[tuple[float, float, str]]
    """Start, end and text of the segments of gaps."""
    seconds: float
    """Time that transcribing took."""

    @classmethod
    def of_cache(cls, row: Mapping[str, Any]) -> FileScore:
        """The score of what `cache_row` made."""
        errors, words, deletions = row["spoken"]
        return cls(**{**row, "spoken": WordErrors(tuple(errors), tuple(words), deletions)})


def cache_row(score: LongScore, seconds: float) -> dict[str, Any]:
    """A score as JSON has it."""
    return {
        "gap_words": score.gap_words,
        "gap_seconds": score.gap_seconds,
        "loops": score.loops,
        "whole": [sum(score.whole.errors), sum(score.whole.words)],
        "spoken": [list(score.spoken.errors), list(score.spoken.words), score.spoken.deletions],
        "drift": None if np.isnan(score.drift) else [score.drift, score.drift_95],
        "timed": score.timed,
        "by_kind": {kind: list(pair) for kind, pair in score.by_kind.items()},
        "false": [[segment.start, segment.end, segment.text] for segment in score.false],
        "seconds": seconds,
    }


def run_long_part(
    runner: Runner,
    files: Sequence[LongFile],
    wanted: Sequence[Arm],
    arms: Mapping[str, Arm],
    transformers: Callable[[], tuple[Any, Any]] | None = None,
    pipeline_files: int | None = None,
) -> LongResults:
    """Measure arms on long files, by `transcribe` and by transformers' pipeline, which has no VAD.

    Args:
        runner: with the model and the cache.
        files: the recordings.
        wanted: the arms; unsteered is the first.
        arms: by name, those that a mask takes texts from.
        transformers: gives the same model by transformers, and its processor; without it there is no pipeline.
        pipeline_files: how many of the recordings the pipeline gets, the first ones; None is all.
    """
    loaded: list[tuple[Any, Any]] = []

    def measure(way: str, own: Sequence[LongFile]) -> dict[str, LongResult] | None:
        if not own:
            return None
        found: dict[str, LongResult] = {}
        unsteered: list[FileScore] = []
        for arm in wanted:
            masked = isinstance(arm, Masked)
            base = arms[arm.of] if isinstance(arm, Masked) else arm
            if not isinstance(base, Steered) or (way == "pipeline" and masked):
                continue
            how: How = "vad" if masked else "transcribe" if way == "transcribe" else "pipeline"
            scores = []
            for number, file in enumerate(own):
                runner.tell(f"long, {way}: {arm.name}", number, len(own))
                scores.append(_one(runner, file, base, how, loaded, transformers))
            runner.tell(f"long, {way}: {arm.name}", len(own), len(own))
            unsteered = unsteered or scores
            found[arm.name] = _together(scores, unsteered)
        return found

    return LongResults(
        files=[_described(file) for file in files],
        transcribe=measure("transcribe", files),
        pipeline=measure("pipeline", files[:pipeline_files] if transformers is not None else ()),
    )


def _one(
    runner: Runner,
    file: LongFile,
    arm: Steered,
    how: How,
    loaded: list[tuple[Any, Any]],
    transformers: Callable[[], tuple[Any, Any]] | None,
) -> FileScore:
    def make() -> dict[str, Any]:
        model, processor = runner.model, None
        if how == "pipeline" and transformers is not None:
            if not loaded:
                loaded.append(transformers())
            model, processor = loaded[0]
        with arm.on(model, TIMED):
            return cache_row(*run_long(model, file, processor=processor, how=how, language=runner.language))

    digest = hashlib.sha256(file.samples.tobytes() + repr(file.pieces).encode()).hexdigest()[:12]
    name = f"long/{how}.{arm.name}.{arm.key}.{runner.language}.{digest}"
    return FileScore.of_cache(runner.kept(name, make))


def _together(scores: Sequence[FileScore], unsteered: Sequence[FileScore]) -> LongResult:
    """All files as one: words per minute of gap, WER of the whole, and on speech with its paired change."""
    minutes = sum(score.gap_seconds for score in scores) / 60
    each = [score.gap_words / max(score.gap_seconds / 60, 1e-9) for score in scores]
    kinds: dict[str, tuple[int, float]] = {}
    for score in scores:
        for kind, (count, seconds) in score.by_kind.items():
            known = kinds.get(kind, (0, 0.0))
            kinds[kind] = (known[0] + count, known[1] + seconds)
    drifts = [(score.drift, score.timed) for score in scores if score.drift]
    timed = sum(count for _, count in drifts)
    errors, words = (sum(score.whole[i] for score in scores) for i in (0, 1))
    gap_words = sum(score.gap_words for score in scores)
    return LongResult(
        files=len(scores),
        words_per_minute=Interval(gap_words / max(minutes, 1e-9), min(each), max(each)),
        gap_words=gap_words,
        gap_minutes=minutes,
        loops=sum(score.loops for score in scores),
        wer=errors / max(words, 1),
        speech=rate(_joined(unsteered), _joined(scores)),
        drift=sum(drift[0] * count for drift, count in drifts) / timed if timed else None,
        drift_95=max((drift[1] for drift, _ in drifts), default=None),
        by_kind=kinds,
        seconds=sum(score.seconds for score in scores),
    )


def _joined(scores: Sequence[FileScore]) -> WordErrors:
    return WordErrors(
        tuple(error for score in scores for error in score.spoken.errors),
        tuple(count for score in scores for count in score.spoken.words),
        sum(score.spoken.deletions for score in scores),
    )


def _described(file: LongFile) -> LongFileInfo:
    return LongFileInfo(
        name=file.name,
        minutes=round(file.seconds / 60, 2),
        gap_minutes=round(sum(gap.end - gap.start for gap in file.gaps) / 60, 2),
        utterances=len(file.speech),
        kinds=sorted({gap.kind for gap in file.gaps}),
    )
