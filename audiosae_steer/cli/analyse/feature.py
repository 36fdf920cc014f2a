"""Command `analyse feature`."""

from __future__ import annotations

from typing import Annotated

import typer

from ...analyse.feature_cards.card_records import CardSettings
from ..console import progress
from ..options import Options, with_settings
from ..train import Place
from .common import AnyModelOption, Data, SAEOption, Written, finish, read_data, read_sae, read_site
from .phones import Aligned


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(defaults=Aligned(), parameter="aligned"),
    Options(defaults=Data(), parameter="data"),
    Options(defaults=CardSettings()),
    Options(defaults=Written(), parameter="written"),
)
def feature(
    number: Annotated[int, typer.Argument(help="number of the feature")],
    sae: SAEOption,
    place: Place,
    aligned: Aligned,
    data: Data,
    settings: CardSettings,
    written: Written,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Make a card of one feature: density, clips with sound, neighbours, phones, effect, beside random features."""
    from ...analyse.feature_cards.card_making import feature_card
    from ...analyse.phone_names.alignment_files import read_alignments
    from ...models.load import load_model

    clips = read_data(data)
    alignments = read_alignments(aligned.alignments, tier=aligned.tier) if aligned.alignments else None
    if alignments is not None:
        alignments.of(clips)
    opened = read_sae(sae, place.layer)
    loaded = load_model(model)
    with progress() as tell:
        residuals = read_site(loaded, place.site, clips, data, tell)
        found = feature_card(
            opened, residuals, number, alignments=alignments, model=loaded, site=place.site, settings=settings,
            progress=tell,
        )  # fmt: skip
    finish(found, written, clips)
