"""Command `analyse labels`."""

from __future__ import annotations

from functools import partial

from ...analyse.labels.label_records import LabelSettings
from ...errors import SteeringError
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data", help={"audio": "folder that the files of --labels are in"}),
    Options(defaults=LabelSettings(), commas=("controls",), help={"controls": "controls of the SAE, with commas"}),
    Options(defaults=Written(), parameter="written"),
)
def labels(
    sae: SAEOption,
    place: Place,
    data: Data,
    settings: LabelSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Search an SAE's features for those that tell the labels of clips."""
    from ...analyse.labels.feature_labels import label_search

    if data.labels is None:
        raise SteeringError("say what the clips' labels are: --labels CSV, with columns file,label[,group][,start,end]")
    analysed(partial(label_search, settings=settings), sae, model, place, data, written)
