"""The group `analyse`, and its commands."""

from __future__ import annotations

import typer

from . import (
    compare,
    completeness,
    control,
    domains,
    emergence,
    erasure,
    feature,
    gallery,
    labels,
    localise,
    mel,
    phones,
    probe,
    properties,
    quality,
    reconstruction,
    retrieval,
    stability,
    trf,
)

app = typer.Typer(help="Analyse an SAE's features, each figure beside its null and its controls.", no_args_is_help=True)


@app.callback()
def analyse() -> None:
    """Analyse an SAE's features, each figure beside its null and its controls."""


app.command("all")(gallery.gallery)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(compare.compare)
app.command()(completeness.completeness)
app.command()(control.control)
app.command()(domains.domains)
app.command()(emergence.emergence)
app.command()(erasure.erasure)
app.command()(feature.feature)
app.command()(labels.labels)
app.command()(localise.localise)
app.command()(mel.mel)
app.command()(phones.phones)
app.command()(probe.probe)
app.command()(quality.quality)
app.command()(reconstruction.reconstruction)
app.command()(retrieval.retrieval)
app.command()(properties.properties)
app.command()(stability.stability)
app.command()(trf.trf)
