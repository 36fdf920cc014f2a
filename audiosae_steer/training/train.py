"""Train an SAE on a model's activations, with SAELens' trainer: from audio to a file, its curve and its card."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.activations.collect import Activations, collect
from ..data.activations.shards import Frames, Shards, Shuffled, open_shards, shard_key
from ..errors import MissingExtraError, SteeringError
from ..io.tensors.digest import sha256_of_tensors
from ..models.registry import family_of, tap_at, unwrap
from ..models.sites import Site
from ..sae.autoencoder import SAE
from ..sae.quality import Figures, measure, nested_fvu
from .audio_files import as_files
from .checkpoints import resume, save
from .curve import History, draw_curve
from .settings import Settings, check, plain
from .trainer import as_sae, check_start, make_trainer, sae_lens, scale_of, versions

SAVE_EVERY = 200
"""Steps between two checkpoints."""
LOOK_EVERY = 100
"""Steps between two looks at held-out frames."""
SAMPLE = 65_536
"""Frames that the scale, the threshold and typical activations are taken from."""
LOOK = 8192
"""Held-out frames that are looked at while training goes on."""


def train(
    model: Any,
    layer: int | Site,
    audio: Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    start: SAE | None = None,
    cache: str | Path | None = None,
    collect_layers: Sequence[int] | None = None,
    info: dict[str, Any] | None = None,
    most: int | None = None,
    licence: str | None = None,
    progress: bool = True,
) -> SAE:
    """Collect activations, train an SAE on them, calibrate and measure it, and write it with its curve and card.

    Beside `out`, say `encoder-4.safetensors`, come `encoder-4.png`, what became of FVU, L0 and silent features while
    it was trained, and `encoder-4.md`, a card. Interrupted, it goes on where it stopped, to the same result.

    Args:
        model: any that hears sound: a Whisper of either library, HuBERT and its kin, AST, EnCodec.
        layer: encoder layer, counted from 1; or another site that a pass of the encoder comes by.
        audio: folders, files, `.txt` lists of them, or data sets of the Hub (`hub:user/dataset[@revision][:part]`).
        out: where to write the SAE (`.safetensors`, float16).
        settings: sizes and schedule.
        start: an SAE to go on from, in place of random weights.
        cache: folder for activations and training checkpoints, with which an interrupted run goes on; by default beside
            `out`.
        collect_layers: encoder layers to collect in the same pass over the audio, for training several; `layer` is
            collected in any case.
        info: provenance to store in the file; `model` and `command` are shown on the card.
        most: most clips to take of each data set of the Hub.
        licence: of the SAE, for the card, as the Hub abbreviates it ("mit").
        progress: show progress bars.

    Raises:
        MissingExtraError: SAELens or matplotlib is not installed.
        UnknownModelError: nothing here knows how that model hears.
        SiteError: the model has no such layer, or nothing passes there when it hears.
        SteeringError: a setting is out of its range, `cache` holds activations or a training with other settings, or
            there is less audio than one batch.
        AudioError: there is no audio.
        HubError: a data set cannot be had.
        CheckpointError: `out` cannot be written.
    """
    from ..publishing.sae_card import write_card

    out = Path(out)
    settings = settings or Settings()
    site = layer if isinstance(layer, Site) else Site(layer)
    if out.suffix != ".safetensors" or out.is_dir():
        raise SteeringError(f"{out}: expected the SAE's file, such as encoder-4.safetensors")
    check(settings)
    inner = unwrap(model)
    family = family_of(inner)
    tap = tap_at(inner, family, site)
    if start is not None:
        check_start(start, settings, None if site.path is not None else tap.size or family.dims(inner).d_model)
    if find_spec("matplotlib") is None:  # said before the minutes that collecting takes
        raise MissingExtraError("the curve is drawn with matplotlib; run: pip install 'audiosae-steer[train]'")
    sae_lens()
    folder = Path(cache) if cache is not None else out.with_suffix(".cache")
    layers = [Site(number) for number in collect_layers or ()]
    if site not in layers:  # in one order, so that a training of another of them finds them collected
        layers = sorted([*layers, site], key=lambda each: (each.side, each.path or "", each.layer))
    files, names = as_files(audio, folder / "audio", most=most, seed=settings.seed, progress=progress)
    collect(model, files, layers, folder / "activations", seed=settings.seed, progress=progress)
    shards = open_shards(folder / "activations", site)
    sae, history = _train(shards, settings, start, folder / f"layer-{shard_key(site)}", progress)
    where = {"path": site.path} if site.path is not None else {"layer": site.layer, "side": site.side}
    sae.info.update({"family": family.name, **where, **(info or {})})
    sae = sae.half()
    sae.save(out)
    on = "held out" if "held_out" in sae.info else "on training frames"
    draw_curve(history, settings, out.with_suffix(".png"), on)
    write_card(sae, out, names, licence)
    return sae


def train_sae(
    activations: Activations | Shards,
    settings: Settings,
    *,
    start: SAE | None = None,
    checkpoints: Path | None = None,
    progress: bool = True,
) -> SAE:
    """An SAE of activations, with its threshold, typical activations and held-out figures.

    Deterministic under its seed; with `checkpoints` an interrupted training goes on to the same result. Of shards no
    more than a buffer and a sample of their frames are in memory.

    Raises:
        MissingExtraError: SAELens is not installed.
        SteeringError: a setting is out of its range, there are fewer frames than one batch, or `checkpoints` holds a
            training with other settings, on other frames or from another start.
    """
    check(settings)
    shards = activations if isinstance(activations, Shards) else Shards.of(*activations)
    return _train(shards, settings, start, checkpoints, progress)[0]


def _train(
    shards: Shards, settings: Settings, start: SAE | None, checkpoints: Path | None, progress: bool
) -> tuple[SAE, History]:
    if not len(shards.train):  # every recording fell to the held-out side, as a lone one does once in twenty times
        shards = Shards(shards.held_out, shards.train, shards.source)
    batches = Shuffled(shards.train, settings.batch, settings.seed, settings.buffer)
    sample = shards.train.sample(SAMPLE, settings.seed)
    scale = scale_of(sample, start)
    trainer = make_trainer(sample, settings, scale, start)
    kind = {
        **plain(settings), "frames": len(shards.train), "d_model": shards.train.width, "of": shards.source,
        "activations": _digest(sample), "start": None if start is None else _digest(*_trained(start)),
    }  # fmt: skip
    history = History([] if checkpoints is None else resume(trainer, checkpoints, kind))
    look = (shards.held_out if len(shards.held_out) else shards.train).sample(LOOK, settings.seed)
    every = max(1, min(LOOK_EVERY, settings.steps // 20))
    with _Bar(settings.steps, progress) as bar:
        for step in range(trainer.n_training_steps, settings.steps):
            trainer.step(batches.batch_of(step) * scale)
            trainer.n_training_steps += 1
            last = step + 1 == settings.steps
            if (step + 1) % every == 0 or last:
                found = measure(as_sae(trainer.sae, settings, scale), look)
                history.add(step + 1, found, float(trainer.dead_neurons.float().mean()))
                bar.update(step + 1, found)
            if checkpoints is not None and ((step + 1) % SAVE_EVERY == 0 or last):
                save(trainer, checkpoints, kind, history.rows)
    return _finish(as_sae(trainer.sae, settings, scale), shards, sample, settings), history


def _finish(sae: SAE, shards: Shards, sample: Tensor, settings: Settings) -> SAE:
    with torch.no_grad():
        sae = sae.calibrate_threshold(torch.split(sample, 4096))
        total, fired = torch.zeros(sae.n_features), torch.zeros(sae.n_features)
        for block in torch.split(sample, 4096):
            f = sae.encode(block)
            total += f.sum(0)
            fired += (f > 0).sum(0)
    held: Tensor | Frames = shards.held_out if len(shards.held_out) else sample
    info = {
        "trainer": versions(),
        "settings": plain(settings),
        "frames": {"train": len(shards.train), "held_out": len(shards.held_out)},
        "threshold_calibration": sae.info["threshold_calibration"],
        "held_out" if len(shards.held_out) else "on_training_frames": measure(sae, held)._asdict(),
    }
    if settings.nested:
        part = held.sample(LOOK, settings.seed) if isinstance(held, Frames) else held[:LOOK]
        info["nested_fvu"] = {str(width): fvu for width, fvu in nested_fvu(sae, part, settings.nested).items()}
    if "clips" in shards.source:
        info["clips"] = shards.source["clips"]
    return sae.altered(typical=total / fired.clamp(min=1), info=info)


class _Bar:
    """How far training is, and the figures of the last look; a line each where no terminal shows a bar."""

    def __init__(self, steps: int, progress: bool) -> None:
        self.steps = steps
        self.bar: Any = None
        if progress:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.description}"))
            self.task = self.bar.add_task("", total=steps)

    def __enter__(self) -> _Bar:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *rest: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, step: int, figures: Figures) -> None:
        if self.bar is None:
            return
        self.bar.update(self.task, completed=step, description=str(figures))
        if not self.bar.console.is_terminal:  # a log file shows no bar before its end
            self.bar.console.print(f"step {step}/{self.steps}  {figures}", highlight=False)


def _trained(sae: SAE) -> list[Tensor]:
    """All that a training which starts from it depends on."""
    scale = torch.tensor([sae.normalisation.scale])
    tensors = [sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, scale]
    return tensors if sae.threshold is None else [*tensors, sae.threshold]


def _digest(*tensors: Tensor) -> str:
    return sha256_of_tensors(tensors)[:16]
