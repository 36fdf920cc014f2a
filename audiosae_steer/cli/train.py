"""The command that trains an SAE."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import SteeringError
from .console import ModelOption, say
from .discover import command


def train(
    audio: Annotated[
        list[str], typer.Option(help="folder, file, .txt list of them, or hub:user/dataset; may be repeated")
    ],
    out: Annotated[Path, typer.Option(help="the SAE to write, .safetensors; its curve and card come beside it")],
    layer: Annotated[int | None, typer.Option(help="encoder layer, counted from 1")] = None,
    model: ModelOption = "tiny.en",
    side: Annotated[Literal["encoder", "decoder"], typer.Option(help="of the layer")] = "encoder",
    path: Annotated[str | None, typer.Option(help="any module by its path, in place of a layer")] = None,
    architecture: Annotated[Literal["batchtopk", "matryoshka"], typer.Option(help="of the SAE")] = "batchtopk",
    width: Annotated[
        list[int] | None, typer.Option(help="of a matryoshka's nested dictionaries, ascending; repeatable")
    ] = None,
    n_features: Annotated[int, typer.Option(help="size of the dictionary")] = 3072,
    k: Annotated[int, typer.Option(help="features that fire per frame, on average")] = 32,
    steps: Annotated[int, typer.Option(help="batches to train on")] = 2400,
    batch: Annotated[int, typer.Option(help="frames a batch")] = 2048,
    lr: Annotated[float, typer.Option(help="learning rate")] = 8e-4,
    start: Annotated[str | None, typer.Option(help="an SAE to go on from: file, folder or Hub id")] = None,
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="folder for activations and checkpoints; default: beside --out")
    ] = None,
    collect_layer: Annotated[
        list[int] | None, typer.Option(help="collect these layers in the same pass; repeatable")
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="most clips to take of each data set of the Hub")] = None,
    licence: Annotated[str | None, typer.Option(help="of the SAE, for its card, as the Hub has it (mit)")] = None,
) -> None:
    """Train an SAE on what a model makes of audio. Interrupted, it goes on where it stopped."""
    from ..models.load import load_model
    from ..models.sites import Site
    from ..sae.load import load_sae
    from ..training.settings import TrainSettings
    from ..training.train import train as train_sae

    if (layer is None) == (path is None):
        raise SteeringError("say --layer N, counted from 1, or --path MODULE: one of the two")
    site = Site(layer, side) if layer is not None else Site(path=path)
    settings = TrainSettings(
        n_features=n_features, k=k, steps=steps, batch=batch, lr=lr, seed=seed, architecture=architecture,
        widths=tuple(width or ()),
    )  # fmt: skip
    begin = None if start is None else load_sae(start, layer=None if Path(start).is_file() else layer)
    made = {"model": model, "command": command()}
    if start is not None:
        made["started_from"] = Path(start).name
    sae = train_sae(
        load_model(model), site, audio, out, settings=settings, start=begin, cache=cache, collect_layers=collect_layer,
        most=most, info=made, licence=licence,
    )  # fmt: skip
    say(f"wrote {out}: {sae}")
    on = "held-out recordings" if "held_out" in sae.info else "the frames it was trained on"
    held = sae.info.get("held_out") or sae.info["on_training_frames"]
    say(
        f"on {on}: FVU {held['fvu']:.3f}, {held['fvu_near']:.3f} without far frames; L0 {held['l0']:.1f}; "
        f"silent features {held['dead']:.1%}"
    )
    say(f"beside it: {out.with_suffix('.png').name}, {out.with_suffix('.md').name}")
