"""Command `analyse properties`."""

from __future__ import annotations

from ...analyse.properties_of_frames.property_records import PropertySettings
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data"),
    Options(
        defaults=PropertySettings(),
        commas=("controls", "properties"),
        help={"controls": "controls of the SAE, with commas", "properties": "pitch, loudness, centroid, with commas"},
        names={"penalties": "penalty"},
    ),
    Options(defaults=Written(), parameter="written"),
)
def properties(
    sae: SAEOption,
    place: Place,
    data: Data,
    settings: PropertySettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Map an SAE's features to the pitch, loudness and spectral centroid of the frames."""
    from ...analyse.properties_of_frames.mapping import property_map
    from ...analyse.properties_of_frames.named_engines import pitch_engine

    pitch_engine(settings.engine)  # refuses what is not installed before anything is encoded
    clips = read_data(data)
    opened = read_sae(sae, place.layer)
    with progress() as tell:
        residuals = read_site(model, place.site, clips, data, tell)
        found = property_map(opened, residuals, settings=settings, progress=tell)
    finish(found, written, clips)
