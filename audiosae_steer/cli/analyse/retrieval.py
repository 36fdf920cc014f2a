"""Command `analyse retrieval`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...analyse.feature_retrieval.retrieval_records import RetrievalSettings
from ...errors import SteeringError
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed, read_data


@dataclass(frozen=True, kw_only=True)
class Named:
    """Names to score."""

    names: Path | None = None
    """CSV of features' names, feature,name, each name a label of the clips; default: found on half of the groups."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data"),
    Options(defaults=Named(), parameter="named"),
    Options(defaults=RetrievalSettings(), commas=("controls",), help={"controls": "controls of the SAE, with commas"}),
    Options(defaults=Written(), parameter="written"),
)
def retrieval(
    sae: SAEOption,
    place: Place,
    data: Data,
    named: Named,
    settings: RetrievalSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Score features' names as queries for clips: precision, recall and mean average precision."""
    from ...analyse.feature_retrieval.retrieving import read_names
    from ...analyse.feature_retrieval.retrieving import retrieval as score
    from ...analyse.probes.probing import checked_labels, labelled_parts

    if data.labels is None:
        raise SteeringError("say what the clips' labels are: --labels CSV, with columns file,label[,group][,start,end]")
    clips = read_data(data)
    checked_labels(clips)
    names = None if named.names is None else read_names(named.names)
    if names is None:
        labelled_parts(clips, settings.share, settings.seed)
    analysed(partial(score, names=names, settings=settings), sae, model, place, data, written, clips)
