"""Command `analyse probe`."""

from __future__ import annotations

from ...analyse.probes.probe_records import ProbeSettings
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site


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
    opened = read_sae(sae, place.layer)
    with progress() as tell:
        residuals = read_site(model, place.site, clips, data, tell)
        found = measure(opened, residuals, settings=settings, progress=tell)
    finish(found, written, clips)
