"""Command `analyse control`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...analyse.control_by_concept.control_records import ControlSettings
from ...errors import EditError
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_map, read_sae, read_site


@dataclass(frozen=True, kw_only=True)
class Target:
    """Class to edit towards."""

    map: Path | None = None
    """Property map, .json, that `analyse properties --out` wrote for the SAE."""
    property: str | None = None
    """Property to move: pitch, loudness, centroid."""
    to: float | None = None
    """Class to move it to: a MIDI note, dB re the loud end of the map's clips, Hz."""
    engine: str = "swift"
    """Pitch engine that measures the sound: swift or crepe-tiny."""


@with_settings(
    Options(defaults=Target(), parameter="target"),
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data", hidden=("report_part",)),
    Options(defaults=ControlSettings(), hidden=("engine",), names={"alphas": "alpha"}),
    Options(defaults=Written(), parameter="written"),
)
def control(
    sae: SAEOption,
    target: Target,
    place: Place,
    data: Data,
    settings: ControlSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Edit latents towards a class of a property, and measure the sound that a codec makes of them.

    Of a model that makes no sound the map itself is asked, which the result says.
    """
    from ...analyse.control_by_concept.controlling import control_report
    from ...analyse.control_by_concept.heard_arms import control_sounds
    from ...analyse.control_by_concept.latent_sounds import codec_decoder
    from ...models.families.codec import Codec
    from ...models.load import load_model
    from ...models.registry import family_of, unwrap

    settings, name, to = replace(settings, engine=target.engine), target.property, target.to
    if name is None or to is None:
        raise EditError("say what to move, and where to: --property pitch --to 62")
    mapped, clips, opened = read_map(target.map), read_data(data), read_sae(sae, place.layer)
    mapped.edit(name, to, 0.0)  # refuses what the map lacks before anything is encoded
    loaded, site = load_model(model), place.site
    makes = isinstance(family_of(unwrap(loaded)), Codec) and site.path is None and site.layer == 1
    decoder = codec_decoder(loaded, site.side) if makes else None
    with progress() as tell:
        residuals = read_site(loaded, site, clips, data, tell)
        found = control_report(mapped, opened, residuals, name, to, decoder=decoder, settings=settings, progress=tell)
        heard = None
        if decoder is not None and written.html is not None:
            heard = control_sounds(found, mapped, opened, residuals, decoder, settings=settings)
    finish(found, written, heard)
