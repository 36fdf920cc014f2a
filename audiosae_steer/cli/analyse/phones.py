"""Command `analyse phones`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...analyse.phone_names.phone_records import PhoneSettings
from ...errors import SteeringError
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed, read_data


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """Alignments of the clips with phones."""

    alignments: tuple[Path, ...] = ()
    """TextGrid, .lab or CSV (file,start,end,phone), or a folder of them; repeatable."""
    tier: str | None = None
    """Tier of TextGrids; default: phones, or the only one."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Aligned(), parameter="aligned"),
    Options(
        defaults=Data(), parameter="data",
        help={"labels": "CSV with columns file,label[,group], whose groups are speakers; the labels are not looked at"},
    ),
    Options(
        defaults=PhoneSettings(), commas=("controls",), help={"controls": "controls of the SAE, with commas"}
    ),
    Options(defaults=Written(), parameter="written"),
)  # fmt: skip
def phones(
    sae: SAEOption,
    place: Place,
    aligned: Aligned,
    data: Data,
    settings: PhoneSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Name an SAE's features after the phones that they fire on, and score the names on other recordings."""
    from ...analyse.phone_names.alignment_files import read_alignments
    from ...analyse.phone_names.phone_search import phones as search
    from ...analyse.phone_names.phone_sets import phone_names

    if not aligned.alignments:
        raise SteeringError("say when which phone is spoken: --alignments with TextGrids, .lab files or a CSV")
    phone_names(settings.phone_set, settings.merge)  # refuses before anything is loaded
    clips = read_data(data)
    alignments = read_alignments(aligned.alignments, tier=aligned.tier)
    alignments.of(clips)
    analysed(partial(search, alignments=alignments, settings=settings), sae, model, place, data, written, clips)
