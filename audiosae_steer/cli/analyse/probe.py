"""Command `analyse probe`."""

from __future__ import annotations

from functools import partial

from ...analyse.probes.probe_records import ProbeSettings
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, analysed, read_data


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data"),
    Options(
        defaults=ProbeSettings(),
        commas=("controls",),
        help={"controls": "controls, with commas", "ks": "number of features to try; repeatable"},
        names={"ks": "k", "penalties": "penalty"},
    ),
    Options(defaults=Written(), parameter="written"),
)
def probe(
    sae: SAEOption,
    place: Place,
    data: Data,
    settings: ProbeSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Measure how many features tell the clips' labels, and without how many they can no longer be told."""
    from ...analyse.probes.probing import checked_labels, labelled_parts
    from ...analyse.probes.probing import probe as measure

    clips = read_data(data)
    checked_labels(clips)
    labelled_parts(clips, settings.share, settings.seed)
    analysed(partial(measure, settings=settings), sae, model, place, data, written, clips)
