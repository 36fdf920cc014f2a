"""Commands that build and merge the explorer's indices: `explore build` and `explore merge`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import SteeringError
from ..explorer.index.index_settings import IndexSettings
from ..io.files import check_free
from .analyse.common import AnyModelOption
from .console import progress, say
from .explore_static import write_pages
from .options import Options, with_settings
from .work import QUARANTINED, Scaled, engine_of

if TYPE_CHECKING:
    from ..explorer.index.index_build import BuiltIndex
    from ..explorer.index.index_units import IndexSpec


@dataclass(frozen=True, kw_only=True)
class IndexAudio:
    """Clips of an index, and their rights."""

    audio: tuple[str, ...] = ()
    """Folder, file, .txt list, or hub:user/dataset; repeatable."""
    licence: tuple[str, ...] = ()
    """Licence of the audio: one for all, or one for each --audio."""
    redistributable: bool = False
    """Say that the sound may be given on."""
    most: int | None = field(default=None, metadata={"min": 1})
    """Most clips to take of each --audio, drawn at random."""


@dataclass(frozen=True, kw_only=True)
class IndexRun:
    """Share of an index that a run of `explore build` does, and what it writes besides."""

    part: str = "1/1"
    """Part of the clips to do, as 2/8, where several machines share --out."""
    static: Path | None = None
    """Write the pages to this folder as well, once the index is whole: files for any web server, or the disk."""
    engine: Literal["local", "processes", "ray"] | None = None
    """Do it in units that are retried: in this process, in several, or on Ray."""
    workers: int | None = field(default=None, metadata={"min": 1})
    """Workers of --engine."""


app = typer.Typer(help="Look at features, listen to them, and make indices of them.", no_args_is_help=True)


@app.callback()
def explore() -> None:
    """Look at features, listen to them, and make indices of them."""


@app.command()
@with_settings(
    Options(defaults=IndexAudio(), parameter="clips"),
    Options(defaults=IndexSettings()),
    Options(defaults=IndexRun(), parameter="run"),
)
def build(
    sae: Annotated[list[str], typer.Option(help="the SAE: file, folder, user/repo on the Hub, or tiny.en; repeatable")],
    layer: Annotated[list[int], typer.Option(help="encoder layer of each --sae, counted from 1; repeatable")],
    out: Annotated[Path, typer.Option(help="folder of the index")],
    clips: IndexAudio,
    settings: IndexSettings,
    run: IndexRun,
    model: AnyModelOption = "tiny.en",
    library: Annotated[Literal["openai", "transformers"], typer.Option(help="whose Whisper to load")] = "openai",
) -> None:
    """Build an index for the explorer: one pass over audio, resumable; Parquet to share and SQLite to serve."""
    from ..explorer.index.index_build import build_index
    from ..explorer.index.index_building import IndexJob
    from ..explorer.index.index_corpus import corpus_of
    from ..explorer.index.index_source import open_sae
    from ..explorer.index.index_units import IndexSpec

    if not clips.audio:
        raise SteeringError("say which clips to make an index of: --audio FOLDER, repeatable")
    if len(sae) not in (1, len(layer)):
        raise SteeringError(
            f"there are {len(sae)} --sae for {len(layer)} --layer; give one SAE for each, or one for all"
        )
    own = _part(run.part)
    if run.static is not None:
        check_free(run.static)
    chosen = [(sae[i if len(sae) > 1 else 0], number) for i, number in enumerate(layer)]
    if run.engine is not None:
        _in_units(IndexSpec(
            model=model, library=library, saes=tuple(chosen), audio=clips.audio, licences=clips.licence,
            redistributable=clips.redistributable, most=clips.most, settings=settings,
        ), out, run)  # fmt: skip
        return
    saes = [open_sae(source, number) for source, number in chosen]
    with progress() as tell:
        corpus = corpus_of(
            clips.audio, licences=clips.licence, redistributable=clips.redistributable, most=clips.most
        )  # fmt: skip
        job = IndexJob.of(_model(model, library), model, saes, corpus, settings)
        found = build_index(job, out, part=own, progress=tell)
    if found is None:
        say(f"part {run.part} of {out} is done; the index is finished once all parts are")
        return
    _tell(found)
    if run.static is not None:
        write_pages(found.path, run.static)


def _in_units(spec: IndexSpec, out: Path, run: IndexRun) -> None:
    """Build an index in units. typer.Exit: some clips are quarantined."""
    from ..explorer.index.index_units import build_in_units
    from ..io.units.unit_run import RunSettings

    engine, part = engine_of(Scaled(engine=run.engine, workers=run.workers)), _part(run.part)
    with progress() as tell:
        found = build_in_units(spec, out, engine, settings=RunSettings(part=part), progress=tell)
    if found.built is None:
        say(f"part {run.part} of {out} is done; the index is finished once all parts are")
        return
    _tell(found.built)
    if run.static is not None:
        write_pages(found.built.path, run.static)
    if found.failed:
        say(f"{len(found.failed)} clips failed, and are left out; see {out / 'failed.jsonl'}", stderr=True)
        raise typer.Exit(QUARANTINED)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="folders of indices over different clips")],
    out: Annotated[Path, typer.Option(help="folder of the new index")],
) -> None:
    """Merge indices of the same model and SAEs over different clips: exactly the index of all clips at once."""
    from ..explorer.index.index_build import merge_indices

    with progress() as tell:
        found = merge_indices(folders, out, progress=tell)
    _tell(found)


def _tell(found: BuiltIndex) -> None:
    for layer, (fires, features) in sorted(found.features.items()):
        say(f"layer {layer}: {fires} of {features} features fire")
    size = found.path.stat().st_size / 1e6
    say(f"{found.clips} clips, {found.seconds / 60:.1f} minutes; wrote {found.path}, {size:.1f} MB")


def _model(name: str, library: Literal["openai", "transformers"]) -> object:
    from ..models.load import load_model, load_whisper

    return load_whisper(name, library=library) if library == "transformers" else load_model(name)


def _part(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise SteeringError(f"--part is {text!r}; expected a number of a part and how many there are, such as 2/8")
    return int(found[1]), int(found[2])
