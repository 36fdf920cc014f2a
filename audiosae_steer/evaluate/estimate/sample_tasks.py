"""Tasks to measure on a sample of a corpus: its transcription, and the collection of a model's activations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.activations.collect import WINDOWS_PER_SHARD
from ...data.activations.extraction import CollectSettings, Extractor
from ...data.activations.shards import shard_bytes
from ...data.audio import SAMPLE_RATE
from ...data.sound_files import length
from ...data.windows import Window, read_window, windows_of
from ...io.units.seeded_choice import seed_of
from ...models.registry import family_of, tap_at, unwrap
from ...models.sites import Site
from ..transcription.bulk_transcription import BulkSettings
from ..transcription.subtitles import transcript_record
from ..transcription.transcribe import transcribe_batch
from .corpus_estimate import CorpusSize
from .timed_sample import Done, SampleTask

MOST = 256
"""Clips of a sample at most."""


def corpus_size(files: Sequence[Path]) -> CorpusSize:
    """Size of a corpus, by its files' headers. AudioError: a file is not audio."""
    seconds = sum(length(path, str(path)).seconds for path in files)
    return CorpusSize(seconds / 3600, len(files), len(windows_of(files)))


def sample_windows(files: Sequence[Path]) -> list[Window]:
    """Windows of at most 256 recordings, drawn by a hash, in the order of another."""
    chosen = sorted(files, key=lambda path: seed_of(0, str(path), "sample"))[:MOST]
    windows = windows_of(chosen)
    return sorted(windows, key=lambda window: seed_of(0, f"{window.path}@{window.start}", "order"))


def _seconds(window: Window) -> float:
    """Length of a window, by its file's header."""
    left = length(window.path, str(window.path)).seconds - window.start / SAMPLE_RATE
    return min(left, window.length / SAMPLE_RATE)


def transcription_task(files: Sequence[Path], settings: BulkSettings) -> SampleTask:
    """Transcription of windows of a corpus, one after another. ModelError, RecipeError: the model cannot be loaded."""
    loaded, windows = settings.load(), sample_windows(files)

    def do(number: int) -> Done:
        samples = read_window(windows[number])
        texts = transcribe_batch(loaded.model, [samples], settings.decoding, processor=loaded.processor)
        line = json.dumps(transcript_record(texts[0]), ensure_ascii=False)
        return Done(len(samples) / SAMPLE_RATE, len(line.encode()))

    return SampleTask("transcription", len(windows), do, files_a_unit=2)


def activations_task(files: Sequence[Path], model: Any, layers: Sequence[int]) -> SampleTask:
    """Collection of residuals of a corpus, as `collect` does it but clip by clip. SiteError: there is no such layer."""
    inner, windows, sites = unwrap(model), sample_windows(files), [Site(layer) for layer in layers]
    for site in sites:
        tap_at(inner, family_of(inner), site)
    extractor = Extractor(model=inner, sites=sites, windows=windows, settings=CollectSettings(batch=1))

    def do(number: int) -> Done:
        stored = len(shard_bytes(extractor.shard([windows[number]])))
        return Done(_seconds(windows[number]), stored)

    return SampleTask("activations", len(windows), do, clips_a_unit=WINDOWS_PER_SHARD)
