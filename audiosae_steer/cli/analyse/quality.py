"""Command `analyse quality`."""

from __future__ import annotations

from functools import partial

from ...analyse.code_quality.quality_records import QualitySettings
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data", hidden=("report_part",)),
    Options(defaults=QualitySettings(), commas=("controls",), help={"controls": "controls of the SAE, with commas"}),
    Options(defaults=Written(), parameter="written"),
)
def quality(
    sae: SAEOption,
    place: Place,
    data: Data,
    settings: QualitySettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Measure what an SAE leaves over, by FVU and by the papers' L2, and within how many frames its features fire."""
    from ...analyse.code_quality.measuring_quality import quality as measure

    analysed(partial(measure, settings=settings), sae, model, place, data, written)
