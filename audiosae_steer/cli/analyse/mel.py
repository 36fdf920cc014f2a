"""Command `analyse mel`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ...analyse.mel_windows.mel_records import MelSettings
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed


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

    analysed(partial(mel_patterns, features=feature, settings=settings), sae, model, place, data, written)
