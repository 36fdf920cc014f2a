"""Command `analyse properties`."""

from __future__ import annotations

from functools import partial

from ...analyse.properties_of_frames.property_records import PropertySettings
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed


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
    analysed(partial(property_map, settings=settings), sae, model, place, data, written)
