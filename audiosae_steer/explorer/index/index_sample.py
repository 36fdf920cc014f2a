"""Building of an index as a task to measure on a sample of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...evaluate.estimate.sample_tasks import MOST
from ...evaluate.estimate.timed_sample import Done, SampleTask
from ...io.units.seeded_choice import seed_of
from .index_building import IndexJob, collect_part
from .index_corpus import corpus_of
from .index_settings import IndexSettings
from .index_source import open_sae
from .part_files import write_part
from .partial_index import PartialIndex

STORED = "of one clip alone, less an empty index: an upper bound, since few clips remain a feature's best"
"""Way in which the bytes of a clip are found."""


def index_task(audio: Sequence[str | Path], model: Any, name: str, saes: Sequence[tuple[str, int]]) -> SampleTask:
    """Encoding of clips into partial indices, which are thrown away.

    Args:
        audio: as of `corpus_of`.
        model: the model.
        name: its name.
        saes: each SAE, as of `open_sae`, and its layer.

    Raises:
        AudioError, CheckpointError, SiteError: clips or SAEs cannot be read.
    """
    opened = [open_sae(source, layer) for source, layer in saes]
    job = IndexJob.of(model, name, opened, corpus_of(audio, most=MOST), IndexSettings())
    order = sorted(range(len(job.corpus)), key=lambda i: seed_of(0, f"{job.corpus.clips[i].key}", "order"))

    empty = sum(_sizes(collect_part(job, [])))

    def do(number: int) -> Done:
        part = collect_part(job, [order[number]])
        return Done(sum(clip.seconds for clip in part.clips.values()), sum(_sizes(part)) - empty)

    files = len(_sizes(collect_part(job, [])))
    return SampleTask("index", len(order), do, files_a_unit=files + 1, stored_how=STORED)


def _sizes(part: PartialIndex) -> list[int]:
    """Bytes of the files of a partial index."""
    with TemporaryDirectory(prefix="audiosae-steer-") as folder:
        write_part(part, Path(folder) / "part")
        return [path.stat().st_size for path in (Path(folder) / "part").iterdir()]
