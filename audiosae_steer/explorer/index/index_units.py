"""Building of an index in units: on one process, several, or Ray, with the bytes of a build by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from ...errors import WorkError
from ...io.files import write_atomic
from ...io.progress import Tell
from ...io.units.engine_pool import Engine
from ...io.units.unit_plan import HOUR, Item, Plan
from ...io.units.unit_reduce import reduce
from ...io.units.unit_run import FAILED, RunSettings, run
from ...io.units.unit_store import FolderStore
from ...io.units.unit_work import RECORDS, Produced, Unit
from .index_build import SHARDS, BuiltIndex, check_build, finish_index, is_finished
from .index_building import IndexJob, claim, collect_part
from .index_corpus import corpus_of
from .index_settings import IndexSettings
from .index_source import open_sae
from .part_files import read_part, write_part
from .partial_index import merged

WORK = "work"
"""Name of the folder of units, within that of the index, until it is finished."""
CLIP_SECONDS = 30.0
"""Length that units are cut by: of a clip at most."""


@dataclass(frozen=True, kw_only=True)
class IndexSpec:
    """All that a worker needs to make a part of an index; it is pickled."""

    model: str
    """As it can be loaded by."""
    library: Literal["openai", "transformers"] = "openai"
    """Whose Whisper to load."""
    saes: tuple[tuple[str, int], ...]
    """Each SAE, as of `open_sae`, and its layer."""
    audio: tuple[str, ...]
    """As of `corpus_of`, the same on all machines."""
    licences: tuple[str, ...] = ()
    """As of `corpus_of`."""
    redistributable: bool = False
    """As of `corpus_of`."""
    most: int | None = None
    """As of `corpus_of`."""
    settings: IndexSettings = field(default_factory=IndexSettings)
    """Settings of the index."""

    def job(self) -> IndexJob:
        """The model, SAEs and clips, loaded. AudioError, ModelError, CheckpointError, SiteError: they cannot be."""
        from ...models.load import load_model, load_whisper

        saes = [open_sae(source, layer) for source, layer in self.saes]
        corpus = corpus_of(
            self.audio, licences=self.licences, redistributable=self.redistributable, most=self.most
        )  # fmt: skip
        whisper = self.library == "transformers"
        model = load_whisper(self.model, library=self.library) if whisper else load_model(self.model)
        return IndexJob.of(model, self.model, saes, corpus, self.settings)


class UnitBuild(NamedTuple):
    """Result of a build in units."""

    built: BuiltIndex | None
    """None while units of other runs are missing."""
    failed: tuple[str, ...]
    """Clips that could not be read or encoded, and are not in it."""


@dataclass(frozen=True)
class IndexWork:
    """Partial indices, as work on units."""

    spec: IndexSpec
    digest: str
    """Of the job."""

    def open(self) -> Callable[[Unit], Produced]:
        """Load the job. WorkError: it is another one on this machine."""
        job = self.spec.job()
        if job.digest != self.digest:
            raise WorkError(
                "the model, SAE or audio on this machine is not what the plan was made with; put the same on every "
                "machine"
            )
        places = {_name(job, i): i for i in range(len(job.corpus))}

        def made(unit: Unit) -> Produced:
            part = collect_part(job, [places[item.name] for item in unit.items])
            with TemporaryDirectory(prefix="audiosae-steer-") as folder:
                write_part(part, Path(folder) / "part")
                return Produced({f"{RECORDS}/{unit.stem}/{n}": c for n, c in _files(Path(folder) / "part").items()})

        return made


def merge_parts(parts: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    """The files of partial indices as those of one. SteeringError: they are of different indices, or damaged."""
    with TemporaryDirectory(prefix="audiosae-steer-") as name:
        folders = []
        for number, files in enumerate(parts):
            folders.append(Path(name) / f"{number}")
            folders[-1].mkdir()
            for file, content in files.items():
                (folders[-1] / file).write_bytes(content)
        write_part(merged(map(read_part, folders)), Path(name) / "merged")
        return _files(Path(name) / "merged")


def build_in_units(
    spec: IndexSpec, out: str | Path, engine: Engine | None = None, *, seconds: float = HOUR,
    settings: RunSettings | None = None, progress: Tell | None = None,
) -> UnitBuild:  # fmt: skip
    """Build an index in a folder by units and a tree of merges; the files are those of `build_index`, byte for byte.

    Clips that cannot be read are left out, and named in `failed.jsonl` beside the index.

    Args:
        spec: model, SAEs, clips and settings.
        out: the folder, on a disk that all workers see.
        engine: who does it; by default this process.
        seconds: of audio in a unit, at most, clips counted as 30 s.
        settings: of the run.
        progress: called with what is being done, how much is done, and how much there is.

    Raises:
        WorkError, SteeringError: the folder holds another build, or cannot be written; a unit or merge cannot be done.
        MissingExtraError: pyarrow or the engine is not installed.
    """
    out, job = Path(out), spec.job()
    check_build(job)
    claim(out, job.digest)
    for own in job.saes:
        own.put(out)
    if not is_finished(job, out):
        store = FolderStore(out / WORK)
        items = [Item(_name(job, i), CLIP_SECONDS, mark) for i, mark in enumerate(job.corpus.marks)]
        plan = Plan.of("index", {"index": job.digest, **asdict(job.facts)}, items, seconds=seconds)
        work = IndexWork(spec, job.digest)
        found = run(plan, work, store, engine, settings=settings, progress=progress)
        if not found.is_done:
            return UnitBuild(None, tuple(name for _, name, _ in found.failed))
        files = reduce(plan, store, merge_parts, engine, settings=settings, progress=progress)
        with TemporaryDirectory(prefix="audiosae-steer-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            built = finish_index(job, read_part(Path(folder)), out, progress)
        if found.failed:
            write_atomic(out / FAILED, store.read(FAILED), WorkError)
        shutil.rmtree(out / WORK, ignore_errors=True)
    else:
        built = finish_index(job, read_part(out / SHARDS), out, progress)
    return UnitBuild(built, _failed(out))


def _failed(out: Path) -> tuple[str, ...]:
    if not (out / FAILED).is_file():
        return ()
    lines = (out / FAILED).read_text("utf-8").splitlines()
    return tuple(str(json.loads(line)["recording"]) for line in lines)


def _name(job: IndexJob, position: int) -> str:
    """Name of a clip: its recording, and where in it it begins."""
    clip: Any = job.corpus.clips[position]
    return f"{clip.recording}@{clip.start:g}"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
