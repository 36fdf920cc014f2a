"""Command `analyse mel`."""

from __future__ import annotations

from typing import Annotated

import typer

from ...analyse.mel_windows.mel_records import MelSettings
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data", hidden=("report_part",)),
    Options(defaults=MelSettings(), commas=("controls",), help={"controls": "controls of the SAE, with commas"}),
    Options(defaults=Written(), parameter="written"),
)
def mel(
    sae: SAEOption,
    feature: Annotated[list[int], typer.Option(help="number of a feature; repeatable")],
    place: Place,
    data: Data,
    settings: MelSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Average the sound around the peaks of features, beside that around random frames."""
    from ...analyse.mel_windows.mel_search import mel_patterns

    clips = read_data(data)
    opened = read_sae(sae, place.layer)
    with progress() as tell:
        residuals = read_site(model, place.site, clips, data, tell)
        found = mel_patterns(opened, residuals, feature, settings=settings, progress=tell)
    finish(found, written, clips)
