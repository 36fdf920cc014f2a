"""Options that the analyses have in common, and what they do with a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import EditError, SteeringError
from ...io.progress import Tell
from ..console import progress, say

if TYPE_CHECKING:
    from ...analyse.frame.excerpts import Excerpts
    from ...analyse.frame.outcome import Outcome
    from ...analyse.frame.presented import Sound
    from ...analyse.properties_of_frames.property_maps import PropertyMap
    from ...models.sites import Site
    from ...sae.autoencoder import SAE
    from ..train import Place

SAEOption = Annotated[
    str, typer.Option(help="the SAE: file, folder, user/repo on the Hub, or the name of a model whose SAEs ship")
]
AnyModelOption = Annotated[
    str, typer.Option("--model", "-m", help="a Whisper as elsewhere; or a transformers folder or Hub id")
]
TOGETHER: ContextVar[tuple[Site, ...]] = ContextVar("sites of one model that a pass is to read together", default=())
"""Set by `compare`, which runs a command for one site after the other."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Clips to analyse."""

    audio: tuple[str, ...] = ()
    """Folder, file or .txt list of clips; repeatable; with --labels the folder that its files are in."""
    labels: Path | None = None
    """CSV with columns file,label[,group][,start,end]; group: speaker or instrument; start and end in seconds."""
    report_part: Path | None = None
    """Folder of the clips that the numbers are of, kept apart from those to fit on; default: half of the groups."""
    cache: Path | None = None
    """Folder for activations, so that a run resumes and another uses them again; default: none is kept."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files to write."""

    out: Path | None = None
    """The result to write, .json."""
    html: Path | None = None
    """Page to write, one self-contained file with sound."""
    png: Path | None = None
    """Picture to write."""


def read_data(data: Data) -> Excerpts:
    """The clips, with their labels and parts.

    Raises:
        SteeringError: neither clips nor labels are given.
        AudioError: they cannot be read.
    """
    from ...analyse.frame.excerpts import excerpts_from_csv, excerpts_of

    if data.labels is not None:
        if len(data.audio) > 1:
            raise SteeringError("with --labels, --audio is the one folder that its files are in; give it once")
        clips = excerpts_from_csv(data.labels, data.audio[0] if data.audio else None)
        return clips if data.report_part is None else clips.reported(data.report_part)
    if not data.audio:
        raise SteeringError("say which clips to analyse: --audio FOLDER, repeatable, or --labels CSV")
    clips = excerpts_of(data.audio)
    return clips if data.report_part is None else clips.with_report(excerpts_of([data.report_part]))


def read_sae(source: str, layer: int | None) -> SAE:
    """The SAE of that layer, in float32. CheckpointError, HubError: it cannot be had."""
    from ...sae.load import load_sae

    single = Path(source).expanduser().is_file()
    return load_sae(source, None if single else layer).float()


def read_site(model: Any, site: Site, clips: Excerpts, data: Data, tell: Tell) -> Any:
    """The residuals of the clips at a site of a model, loaded or named; see `read_residuals`."""
    from ...analyse.frame.residual_clips import read_residuals
    from ...models.load import load_model

    loaded = load_model(model) if isinstance(model, str) else model
    return read_residuals(loaded, site, clips, cache=data.cache, also=TOGETHER.get(), progress=tell)


def analysed(
    measure: Callable[..., Outcome],
    sae: str,
    model: str,
    place: Place,
    data: Data,
    written: Written,
    clips: Excerpts | None = None,
) -> None:
    """Run an analysis of an SAE on the residuals of clips, print its tables, and write the files that were asked for.

    Args:
        measure: takes the SAE, the residuals and `progress`.
        sae: the SAE's source.
        model: the model's name.
        place: where to read.
        data: clips and cache.
        written: files to write.
        clips: the clips, where they are read already; None reads those of `data`.
    """
    clips = read_data(data) if clips is None else clips
    opened = read_sae(sae, place.layer)
    with progress() as tell:
        found = measure(opened, read_site(model, place.site, clips, data, tell), progress=tell)
    finish(found, written, clips)


def read_map(path: Path | None) -> PropertyMap:
    """The property map of a file. EditError: there is none."""
    from ...analyse.properties_of_frames.property_maps import PropertyMap

    if path is None or not path.is_file():
        raise EditError(
            f"--property takes a map of the SAE's features, and {path or '--map'} is none; make one with "
            "`audiosae-steer analyse properties ... --out map.json`"
        )
    return PropertyMap.from_json(path.read_bytes())


def finish(result: Outcome, written: Written, audio: Excerpts | Sequence[Sound] | None = None) -> None:
    """Print a result's tables, and write the files that were asked for; the page with its clips, or with sounds."""
    from ...io.files import write_atomic

    say(result.table())
    done: Sequence[Path | None] = (written.out, written.html, written.png)
    for path in done:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if written.out is not None:
        write_atomic(written.out, result.to_json(), SteeringError)
    if written.html is not None:
        result.report(written.html, audio)
    if written.png is not None:
        result.png(written.png)
    names = [str(path) for path in done if path is not None]
    if names:
        say(f"wrote {' and '.join(names)}")
