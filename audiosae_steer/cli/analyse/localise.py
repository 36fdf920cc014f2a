"""Command `analyse localise`."""

from __future__ import annotations

from typing import Annotated

import typer

from ...analyse.localisation.localisation_records import LocaliseSettings
from ...errors import SteeringError
from ..console import progress
from ..options import Options, with_settings
from .common import AnyModelOption, Data, Written, finish, read_data


@with_settings(
    Options(defaults=Data(), parameter="data", hidden=("report_part", "cache")),
    Options(defaults=LocaliseSettings(), names={"C": "penalty"}),
    Options(defaults=Written(), parameter="written"),
)
def localise(
    base: Annotated[str, typer.Option(help="label of the clips that are patched")],
    source: Annotated[str, typer.Option(help="label of the clips that the patch is of")],
    layer: Annotated[list[int], typer.Option(help="encoder layer to patch, counted from 1; repeatable")],
    data: Data,
    settings: LocaliseSettings,
    written: Written,
    read: Annotated[int | None, typer.Option(help="layer at which a probe reads; default: the last of --layer")] = None,
    model: AnyModelOption = "tiny.en",
) -> None:
    """Patch layers between clips of two labels, to see which of them moves the property, before steering."""
    from ...analyse.localisation.localising import localise as patch
    from ...models.load import load_model

    if data.labels is None:
        raise SteeringError("say what the clips' labels are: --labels CSV, with columns file,label[,group][,start,end]")
    clips = read_data(data)
    loaded = load_model(model)
    with progress() as tell:
        found = patch(
            loaded, clips, base, source, layer, read=max(layer) if read is None else read, settings=settings,
            progress=tell,
        )  # fmt: skip
    finish(found, written)
