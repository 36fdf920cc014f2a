"""Commands that describe: `info` and `sites`."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import say, show_sites


def info(
    thing: Annotated[str, typer.Argument(help="a model, an SAE or a recipe: name, path or Hub id")],
    layer: Annotated[int | None, typer.Option(help="which SAE, where there are several")] = None,
) -> None:
    """Explain what a model, an SAE or a recipe is."""
    from ..steering.describe import explain

    say(explain(thing, layer))


def sites(
    model: Annotated[str, typer.Argument(help="a Whisper as for --model; or a transformers folder or Hub id")],
    modules: Annotated[bool, typer.Option("--modules", help="list every module by its path as well")] = False,
) -> None:
    """List what can be steered in a model: layers with their paths, widths and frame rates, and SAEs that fit."""
    from ..models.load import load_model
    from ..steering.listing import list_sites

    show_sites(list_sites(load_model(model), modules=modules))
