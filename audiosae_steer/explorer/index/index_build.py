"""Building of an index: from a model, SAEs and audio to the folder that is shared and the file that is served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import SteeringError
from ...io.progress import Tell
from .finding_files import finding_tables, read_findings
from .index_assembly import LayerFindings, assemble, fired_on
from .index_building import DIGEST, IndexJob, claim, collect_chunks, joined_chunks, remove_chunks
from .index_findings import by_clips, by_cosine, enriched, places
from .index_settings import IndexSettings
from .index_source import IndexedSAE, saes_beside
from .part_files import ABOUT, Further, arrow, read_about, read_part, write_part
from .partial_index import PartialIndex, merged
from .text_effects import check_effects, effects_on_text

SQLITE = "index.sqlite"
"""Name of the file that is served, in an index's folder."""
SHARDS = "shards"
"""Name of the folder of Parquet files, in an index's folder."""
CHUNKS = "chunks"
"""Name of the folder of what a build has done so far."""


class BuiltIndex(NamedTuple):
    """An index that was built."""

    path: Path
    """The SQLite file."""
    clips: int
    seconds: float
    """Of all clips."""
    features: dict[int, tuple[int, int]]
    """By layer: features that fire, and all of them."""


def build_index(
    job: IndexJob, out: str | Path, *, part: tuple[int, int] = (1, 1), progress: Tell | None = None
) -> BuiltIndex | None:
    """Build an index in a folder: Parquet shards to share, and one SQLite file to serve.

    What was done before an interruption is not done again. Several processes, on machines that share the folder, may
    each do a part; whichever is called when all parts are there finishes the index.

    Args:
        job: model, SAEs, clips and settings.
        out: the folder.
        part: number of this process, from 1, and the number of them.
        progress: called with what is being done, how much is done, and how much there is.

    Returns:
        The index; None while other parts are missing.

    Raises:
        SteeringError: the folder holds another build, it cannot be written, or the model writes no text to measure
            effects on.
        AudioError: a clip cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    out = Path(out)
    check_build(job)
    claim(out, job.digest)
    for own in job.saes:
        own.put(out)
    if is_finished(job, out):
        index = read_part(out / SHARDS)
    else:
        if not collect_chunks(job, out / CHUNKS, part, progress):
            return None
        index = joined_chunks(job, out / CHUNKS, progress)
    return finish_index(job, index, out, progress)


def check_build(job: IndexJob) -> None:
    """Refuse a job that cannot be built here.

    Raises:
        SteeringError: its model writes no text to measure effects on.
        MissingExtraError: pyarrow is not installed.
    """
    arrow()
    check_effects(job)


def is_finished(job: IndexJob, out: Path) -> bool:
    """True if a folder holds the Parquet files of this job's index. SteeringError: they are damaged."""
    return bool(_noted(out).get("digest") == job.digest)


def finish_index(job: IndexJob, index: PartialIndex, out: Path, progress: Tell | None = None) -> BuiltIndex:
    """Find neighbours, labels and effects of a whole index, and write its files. SteeringError: they cannot be."""
    found = {own.site.layer or 0: findings_of(index, own, job.settings, job, progress) for own in job.saes}
    return _finished(index, found, out, job.digest, job.settings, progress)


def merge_indices(
    folders: Sequence[str | Path], out: str | Path, settings: IndexSettings | None = None, *,
    progress: Tell | None = None,
) -> BuiltIndex:  # fmt: skip
    """Merge indices of the same model, SAEs and settings over different clips into one.

    Effects are not merged: they are of each index's own top clips. Build them anew where they are wanted.

    Args:
        folders: folders that `build_index` finished.
        out: folder of the new index.
        settings: settings of what is found at the end.
        progress: as in `build_index`.

    Raises:
        SteeringError: they are no parts of one index, or `out` holds another.
    """
    out = Path(out)
    index = merged(read_part(Path(folder) / SHARDS) for folder in folders)
    marks = sorted((Path(folder) / DIGEST).read_text("utf-8").strip() for folder in folders)
    digest = marks[0] if len(marks) == 1 else "merged " + " ".join(marks)
    claim(out, digest)
    saes = saes_beside(index.facts, Path(folders[0]))
    for own in saes:
        own.put(out)
    settings = settings or IndexSettings(**index.facts.settings)
    found = {own.site.layer or 0: findings_of(index, own, settings, None, progress) for own in saes}
    return _finished(index, found, out, digest, settings, progress)


def findings_of(
    index: PartialIndex, own: IndexedSAE, settings: IndexSettings, job: IndexJob | None = None,
    progress: Tell | None = None,
) -> LayerFindings:  # fmt: skip
    """Neighbours, labels, map and effects of one layer of a whole index; effects with a job only."""
    layer = own.site.layer or 0
    clips = [clip.about for clip in index.in_order()]
    fired = fired_on(index, layer)
    steps = 4
    what = f"looking for neighbours and labels at {own.site}"

    def tell(done: int) -> None:
        if progress is not None:
            progress(what, done, steps)

    tell(0)
    cosine = by_cosine(own.sae, settings.neighbours)
    tell(1)
    together = by_clips(fired, settings.neighbours)
    tell(2)
    labels = enriched(fired, [clip.label for clip in clips], [clip.group for clip in clips])
    tell(3)
    at = places(own.sae, index.layers[layer].tally.fired > 0)
    tell(4)
    effects = effects_on_text(job, own, index.layers[layer], progress) if job is not None and settings.effects else ()
    return LayerFindings(cosine, together, tuple(labels), at, effects)


def assemble_folder(shards: Path, path: Path, progress: Tell | None = None) -> BuiltIndex:
    """Write the SQLite file of an index's Parquet files, which are all that it takes.

    Raises:
        SteeringError: there are none, they are damaged, or the file cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    index = read_part(shards)
    found = read_findings(shards, [(each.layer, each.features) for each in index.facts.layers])
    assemble(index, found, path, progress)
    return _built(index, path)


def _finished(
    index: PartialIndex, found: dict[int, LayerFindings], out: Path, digest: str, settings: IndexSettings,
    progress: Tell | None,
) -> BuiltIndex:  # fmt: skip
    note = {"digest": digest, "findings": {name: value for name, value in asdict(settings).items()
                                           if name not in settings.of_parts}}  # fmt: skip
    write_part(index, out / SHARDS, Further(note, finding_tables(found)))
    assemble(index, found, out / SQLITE, progress)
    remove_chunks(out / CHUNKS)
    return _built(index, out / SQLITE)


def _built(index: PartialIndex, path: Path) -> BuiltIndex:
    fires = {layer: (int((own.tally.fired > 0).sum()), len(own.tally.fired)) for layer, own in index.layers.items()}
    return BuiltIndex(path, len(index.clips), sum(clip.seconds for clip in index.clips.values()), fires)


def _noted(out: Path) -> dict[str, Any]:
    """Content of the Parquet files' description; empty where there is none."""
    path = out / SHARDS / ABOUT
    if not path.is_file():
        return {}
    read_about(out / SHARDS)
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise SteeringError(f"{path} is damaged; remove the folder, and build the index again")
    return content
