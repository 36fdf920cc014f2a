"""Command `analyse trf`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ...analyse.brain_responses.trf_records import TrfSettings
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data", hidden=("labels",)),
    Options(
        defaults=TrfSettings(),
        commas=("controls",),
        help={"controls": "controls of the SAE, with commas", "rate": "samples per second to bring everything to"},
        names={"penalties": "penalty", "channels": "channel", "features": "feature", "lags": "lag"},
    ),
    Options(defaults=Written(), parameter="written"),
)
def trf(
    sae: SAEOption,
    responses: Annotated[
        Path, typer.Option(help="responses: .npz, .mat, or a folder of them or in the manner of BIDS")
    ],
    place: Place,
    data: Data,
    settings: TrfSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
    response_rate: Annotated[
        float | None, typer.Option(help="samples per second of the responses, where their files do not say")
    ] = None,
) -> None:
    """Measure how responses of the brain follow an SAE's features, beyond the loudness of the sound."""
    from ...analyse.brain_responses.responding import trf as measure
    from ...analyse.brain_responses.response_files import Responses

    heard = Responses.read(responses, response_rate)
    analysed(partial(measure, responses=heard, settings=settings), sae, model, place, data, written)
