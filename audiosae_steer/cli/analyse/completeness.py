"""Command `analyse completeness`."""

from __future__ import annotations

from dataclasses import dataclass

from ...analyse.code_completeness.completeness_records import CompletenessSettings
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site


@dataclass(frozen=True, kw_only=True)
class Described:
    """Attributes to explain."""

    attributes: str = "free"
    """Attributes: free; egemaps, by openSMILE, for research and private use only; or a CSV of file and numbers."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Data(), parameter="data"),
    Options(defaults=Described(), parameter="described"),
    Options(
        defaults=CompletenessSettings(),
        commas=("controls",),
        help={"controls": "codes to hold the SAE against, beside the dense residual, with commas"},
    ),
    Options(defaults=Written(), parameter="written"),
)
def completeness(
    sae: SAEOption,
    place: Place,
    data: Data,
    described: Described,
    settings: CompletenessSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Measure by how few features attributes of the sound are carried, beside dense, random and rotated codes."""
    from ...analyse.code_completeness.attribute_codes import code_tables
    from ...analyse.code_completeness.attribute_tables import attributes_of
    from ...analyse.code_completeness.measuring_completeness import check_groups
    from ...analyse.code_completeness.measuring_completeness import completeness as measure
    from ...analyse.frame.parts import parts_of

    clips = read_data(data)
    parts = parts_of(clips, share=settings.share, seed=settings.seed)
    check_groups(clips.groups, parts)
    opened = read_sae(sae, place.layer)
    with progress() as tell:
        attributes = attributes_of(clips, described.attributes, progress=tell)
        residuals = read_site(model, place.site, clips, data, tell)
        codes = code_tables(opened, residuals, parts.find, settings=settings, progress=tell)
        found = measure(codes, attributes, groups=clips.groups, parts=parts, settings=settings, progress=tell)
    finish(found, written, clips)
