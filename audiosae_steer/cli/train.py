"""Command that trains an SAE: `train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import SteeringError
from ..models.sites import Site
from ..training.settings import TrainOptions, TrainSettings
from .console import ModelOption, command, say
from .options import Options, with_settings
from .work import QUARANTINED


@dataclass(frozen=True, kw_only=True)
class Place:
    """Site that the SAE is for."""

    layer: int | None = None
    """Encoder layer, counted from 1."""
    side: Literal["encoder", "decoder"] = "encoder"
    """Stack of blocks that the layer is of."""
    path: str | None = None
    """Any module by its path, in place of a layer."""

    @property
    def site(self) -> Site:
        """The site. SteeringError: neither a layer nor a path is given, or both."""
        if (self.layer is None) == (self.path is None):
            raise SteeringError("say --layer N, counted from 1, or --path MODULE: one of the two")
        return Site(path=self.path) if self.layer is None else Site(self.layer, self.side)


@dataclass(frozen=True, kw_only=True)
class Extras:
    """SAE to start from, cache and card."""

    start: str | None = None
    """SAE to start from: file, folder or Hub id."""
    cache: Path | None = None
    """Folder for activations and checkpoints; default: beside --out."""
    collect_seed: int = field(default=0, metadata={"min": 0})
    """Seed of what is random in the activations; trainings of several --seed share a --cache."""
    collect_layer: tuple[int, ...] = ()
    """Layers to collect in the same pass; repeatable."""
    most: int | None = field(default=None, metadata={"min": 1})
    """Most clips to take of each data set of the Hub."""
    engine: Literal["local", "processes", "ray"] | None = None
    """Collect in units that are retried: in this process, in several, or on Ray."""
    workers: int | None = field(default=None, metadata={"min": 1})
    """Workers of --engine; default: one a core, two on Ray."""
    licence: str | None = None
    """Licence of the SAE, for its card, as the Hub has it (mit)."""


@with_settings(
    Options(defaults=Place(), parameter="place"),
    Options(
        defaults=TrainSettings(), hidden=("buffer",), names={"widths": "width"},
        help={
            "architecture": "architecture of the SAE",
            "pool": "train on every frame, or on the mean of each stretch of --pool-seconds",
            "widths": "width of a matryoshka's nested dictionary, ascending; repeatable",
        },
    ),
    Options(defaults=Extras(), parameter="extras"),
)  # fmt: skip
def train(
    audio: Annotated[
        list[str], typer.Option(help="folder, file, .txt list of them, or hub:user/dataset; may be repeated")
    ],
    out: Annotated[Path, typer.Option(help="the SAE to write, .safetensors; its curve and card come beside it")],
    place: Place,
    settings: TrainSettings,
    extras: Extras,
    model: ModelOption = "tiny.en",
) -> None:
    """Train an SAE on a model's activations on audio. Interrupted, it resumes."""
    from ..io.units.named_engine import engine_named
    from ..models.load import load_model
    from ..sae.load import load_sae
    from ..training.train import train as train_sae

    site, start = place.site, extras.start
    begin = None if start is None else load_sae(start, layer=None if Path(start).is_file() else place.layer)
    made = {"model": model, "command": command()}
    if start is not None:
        made["started_from"] = Path(start).name
    sae = train_sae(
        load_model(model), site, audio, out, settings=settings, start=begin,
        options=TrainOptions(
            cache=extras.cache, collect_layers=extras.collect_layer, collect_seed=extras.collect_seed, most=extras.most,
            engine=None if extras.engine is None else engine_named(extras.engine, extras.workers),
            info=made, licence=extras.licence,
        ),
    )  # fmt: skip
    say(f"wrote {out}: {sae}")
    on = "held-out recordings" if "held_out" in sae.info else "the frames it was trained on"
    held = sae.info.get("held_out") or sae.info["on_training_frames"]
    say(
        f"on {on}: FVU {held['fvu']:.3f}, {held['fvu_near']:.3f} without far frames; L0 {held['l0']:.1f}; "
        f"silent features {held['dead']:.1%}"
    )
    say(f"beside it: {out.with_suffix('.png').name}, {out.with_suffix('.md').name}")
    if failed := sae.info.get("failed_clips"):
        say(
            f"{failed} clips failed, and were not trained on; see activations/work/failed.jsonl in the cache",
            stderr=True,
        )
        raise typer.Exit(QUARANTINED)
