"""Command `analyse all`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...analyse.gallery.gallery_records import GallerySettings
from ...errors import SteeringError
from ...io.progress import Tell
from ..console import progress, say, say_table
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, read_data, read_sae
from .phones import Aligned

if TYPE_CHECKING:
    from ...analyse.frame.excerpts import Excerpts

SHIPPED = "tiny.en"
"""Model whose SAEs are taken where none is named."""
LAYER = 4
"""Their layer."""
EARLIER = 3
"""Layer of the one that the former is compared with."""


@dataclass(frozen=True, kw_only=True)
class More:
    """Data of single analyses, each of which is left out without it."""

    concept: str | None = None
    """Label to erase and to patch in; default: that of the most speakers or recordings."""
    feature: tuple[int, ...] = ()
    """Number of a feature for mel patterns, the first for a card as well; repeatable; default: frequent ones."""
    attributes: str = "free"
    """Attributes for completeness: free; egemaps, by openSMILE, for research and private use only; or a CSV."""
    other: str | None = None
    """SAE to compare with; default: a random one; of the SAE that ships, that of layer 3."""
    other_layer: int | None = None
    """Encoder layer that it reads; default: the same."""
    responses: Path | None = None
    """Responses of the brain to the clips: .npz, .mat, or a folder of them."""
    response_rate: float | None = None
    """Samples per second of the responses, where their files do not say."""
    trajectory: Path | None = None
    """States of a flow, .npz or .safetensors."""
    heads: Path | None = None
    """Softmax over the features of --latents, .npz or .safetensors."""
    latents: str = "diffrhythm-vae"
    """SAE of the flow's latents."""


@with_settings(
    Options(
        defaults=Place(), parameter="place", help={"layer": "encoder layer, counted from 1; default: 4 of tiny.en"}
    ),
    Options(defaults=Aligned(), parameter="aligned"),
    Options(
        defaults=Data(), parameter="data",
        help={"audio": "folder, file or .txt list of clips; repeatable; default: the clips that ship, speech or not"},
    ),
    Options(defaults=More(), parameter="more"),
    Options(defaults=GallerySettings()),
)  # fmt: skip
def gallery(
    out: Annotated[Path, typer.Option(help="folder for X.json, X.html and X.png of each analysis, and index.html")],
    place: Place,
    aligned: Aligned,
    data: Data,
    more: More,
    settings: GallerySettings,
    sae: Annotated[str, typer.Option(help="the SAE, as of any analysis")] = SHIPPED,
    model: AnyModelOption = SHIPPED,
) -> None:
    """Run every analysis that the data can bear, with one page of them all. Interrupted, it resumes."""
    from ...analyse.gallery.all_analyses import analyse_all
    from ...analyse.gallery.gallery_data import GalleryData
    from ...analyse.gallery.gallery_page import HEADER, lead_of, lines_of
    from ...models.load import load_model

    if place == Place() and sae == SHIPPED:
        place = Place(layer=LAYER)
    excerpts, texts, concept = _clips(data)
    given = GalleryData(
        model=load_model(model), site=place.site, sae=read_sae(sae, place.layer), excerpts=excerpts, texts=texts,
        concept=more.concept or concept, features=more.feature, attributes=more.attributes, cache=data.cache,
        **_other(more, place, sae), **_read(more, aligned),
    )  # fmt: skip
    found = analyse_all(given, out, settings=settings, shown=_shown)
    say(lead_of(found))
    say_table(HEADER, lines_of(found))
    say(f"wrote {out / 'index.html'}, {found.cpu_seconds:.0f} s of one processor for all results")


@contextmanager
def _shown(name: str, number: int, of: int) -> Iterator[Tell]:
    say(f"{name}, {number} of {of}" if of else name, stderr=True)
    with progress() as tell:
        yield tell


def _clips(data: Data) -> tuple[Excerpts, dict[Path, str], str | None]:
    """The clips, their transcripts, and of those that ship the concept."""
    from ...analyse.gallery.gallery_data import bundled_clips
    from ...data.transcripts import transcripts

    if not data.audio and data.labels is None:
        if data.report_part is not None:
            raise SteeringError("--report-part goes with clips of one's own; give --audio or --labels as well")
        return *bundled_clips(), "speech"
    excerpts = read_data(data)
    files = list(dict.fromkeys(item.path for item in excerpts.items))
    told = transcripts(files, [file.parent for file in files])
    return excerpts, {file: row.text for file, row in told.items() if row.text}, None


def _other(more: More, place: Place, sae: str) -> dict[str, Any]:
    """The SAE to compare with."""
    from ...models.sites import Site

    shipped = more.other is None and more.other_layer is None and (sae, place) == (SHIPPED, Place(layer=LAYER))
    if shipped:
        return {"other": read_sae(SHIPPED, EARLIER), "other_site": Site(EARLIER)}
    if more.other is None:
        if more.other_layer is not None:
            raise SteeringError("--other-layer says what --other reads; give the SAE to compare with as well")
        return {}
    layer = place.layer if more.other_layer is None else more.other_layer
    site = place.site if more.other_layer is None else Site(more.other_layer, place.side)
    return {"other": read_sae(more.other, layer), "other_site": None if site == place.site else site}


def _read(more: More, aligned: Aligned) -> dict[str, Any]:
    """Data of single analyses, as far as it was given."""
    from ...analyse.brain_responses.response_files import Responses
    from ...analyse.diffusion_steps.property_readers import LinearReader
    from ...analyse.diffusion_steps.trajectories import Trajectory
    from ...analyse.phone_names.alignment_files import read_alignments

    found: dict[str, Any] = {}
    if aligned.alignments:
        found["alignments"] = read_alignments(aligned.alignments, tier=aligned.tier)
    if more.responses is not None:
        found["responses"] = Responses.read(more.responses, more.response_rate)
    if more.trajectory is not None:
        found["trajectory"] = Trajectory.read(more.trajectory)
    if more.heads is not None:
        found["latents"] = read_sae(more.latents, None)
        found["reader"] = LinearReader.load(found["latents"], more.heads)
    return found
