"""The group `analyse`, and its commands."""

from __future__ import annotations

import typer

from . import domains, emergence, erasure, feature, labels, mel, phones, probe, stability, trf

app = typer.Typer(help="Analyse an SAE's features, each figure beside its null and its controls.", no_args_is_help=True)


@app.callback()
def analyse() -> None:
    """Analyse an SAE's features, each figure beside its null and its controls."""


app.command()(domains.domains)
app.command()(emergence.emergence)
app.command()(erasure.erasure)
app.command()(feature.feature)
app.command()(labels.labels)
app.command()(mel.mel)
app.command()(phones.phones)
app.command()(probe.probe)
app.command()(stability.stability)
app.command()(trf.trf)
