"""Cost of work on a corpus, by arithmetic on a brief measurement."""

from __future__ import annotations

import math
from typing import NamedTuple

from .cost_rows import CostRow, in_bytes, in_figures
from .timed_sample import SampleTask, Timed

HOUR = 3600.0


class CorpusSize(NamedTuple):
    """Size of a corpus."""

    hours: float
    recordings: int
    clips: int
    """Windows of at most 30 s."""

    def scaled(self, hours: float) -> CorpusSize:
        """A corpus of recordings of the same lengths, and of so many hours."""
        factor = hours / self.hours
        return CorpusSize(hours, math.ceil(self.recordings * factor), math.ceil(self.clips * factor))


def size_rows(corpus: CorpusSize, unit: float) -> list[CostRow]:
    """Rows of a corpus' size, as the headers of its files tell it; units are of so many seconds."""
    return [
        CostRow("measured", "audio", f"{in_figures(corpus.hours)} h", f"{corpus.recordings:,} recordings, by headers"),
        CostRow("measured", "clips", f"{corpus.clips:,}", "windows of at most 30 s"),
        CostRow("arithmetic", "units", f"{_units(corpus, None, unit):,}", f"of {unit:g} s, at least"),
    ]


def estimate_rows(
    task: SampleTask, timed: Timed, corpus: CorpusSize, *, workers: int = 1, unit: float = HOUR
) -> list[CostRow]:
    """Rows of what a task costs on a corpus.

    Args:
        task: what was measured.
        timed: the measurement, on clips of the same lengths.
        corpus: the corpus.
        workers: workers that share it, each as fast as the one that was measured.
        unit: seconds of a unit, where units are cut by length.
    """
    clips = corpus.clips
    each, stored = timed.wall / timed.clips, timed.stored / timed.clips
    work = clips * each / HOUR
    units = _units(corpus, task.clips_a_unit, unit)
    on = f"{timed.clips} clips, {timed.audio:.1f} s of audio, in {timed.wall:.1f} s"
    rows = [
        CostRow("measured", f"{task.name}: time of a clip", f"{in_figures(each)} s", on),
        CostRow("measured", "speed", f"{in_figures(timed.real_time)} ×", "real time; reading and decoding included"),
        CostRow("measured", "stored for a clip", in_bytes(stored), task.stored_how),
        CostRow("assumed", "corpus", f"{in_figures(corpus.hours)} h",
                f"{corpus.recordings:,} recordings, {clips:,} clips of the lengths of these files"),
        CostRow("assumed", "workers", f"{workers}", "each as fast as this one, and none waits"),
        CostRow("arithmetic", "worker-hours", in_figures(work), "clips × time of a clip"),
        CostRow("arithmetic", "stored", in_bytes(clips * stored), "clips × bytes"),
        CostRow("arithmetic", "units", f"{units:,}",
                f"of {unit:g} s" if task.clips_a_unit is None else f"of {task.clips_a_unit} clips"),
        CostRow("arithmetic", "requests", f"{units * task.files_a_unit + 3:,} writes",
                f"units × {task.files_a_unit}, plan, failures and summary; retries come on top"),
    ]  # fmt: skip
    if workers > 1:
        rows.append(CostRow("arithmetic", "hours", in_figures(work / workers), "worker-hours over workers"))
    return rows


def _units(corpus: CorpusSize, clips: int | None, unit: float) -> int:
    return math.ceil(corpus.clips / clips if clips is not None else corpus.hours * HOUR / unit)
