"""Train an SAE on a model's activations, with SAELens' trainer: from audio to a file, its curve and its card."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.activations.collect import collect
from ..data.activations.manifest import site_key
from ..data.activations.shards import Activations, Frames, Shards, ShuffledBatches, open_shards
from ..errors import MissingExtraError, SteeringError
from ..io.tensors.digest import sha256_of_tensors
from ..models.registry import family_of, tap_at, unwrap
from ..models.sites import Site
from ..sae.autoencoder import SAE
from ..sae.quality import Figures, measure, nested_fvu
from .audio_files import as_files
from .checkpoints import checkpoints_in, resume, save
from .curve import History, draw_curve
from .settings import TrainOptions, TrainSettings
from .trainer import as_sae, check_start, make_trainer, sae_lens, scale_of, versions

SAVE_EVERY = 200
"""Steps between two checkpoints."""
LOOK_EVERY = 100
"""Steps between two measurements on held-out frames, at most."""
SAMPLE = 65_536
"""Frames that the scale, the threshold and typical activations are taken from."""
SOURCE = {"clips": "clips", "failed_clips": "failed"}
"""Numbers of the activations' manifest that an SAE's `info` tells, by their names there."""
LOOK = 8192
"""Held-out frames that are measured during training."""


def train(
    model: Any,
    layer: int | Site,
    audio: Sequence[str | Path],
    out: str | Path,
    *,
    settings: TrainSettings | None = None,
    start: SAE | None = None,
    options: TrainOptions | None = None,
    progress: bool = True,
) -> SAE:
    """Collect activations, train an SAE on them, calibrate and measure it, and write it with its curve and card.

    Beside `out`, say `encoder-4.safetensors`, come `encoder-4.png`, the curves of FVU, L0 and silent features over the
    steps, and `encoder-4.md`, a card. An interrupted training resumes, to the same result; trainings of several seeds
    share the activations in `options.cache`. With `settings.pool` "mean"
    a stretch of sound is one vector, of the sound as it is: gain and mixing are for frames.

    Args:
        model: any that reads audio: a Whisper of either library, HuBERT and its kin, AST, EnCodec.
        layer: encoder layer, counted from 1; or another site that a pass of the encoder comes by.
        audio: folders, files, `.txt` lists of them, or data sets of the Hub (`hub:user/dataset[@revision][:part]`).
        out: the SAE's file (`.safetensors`, float16).
        settings: sizes and schedule.
        start: an SAE to train further, in place of random weights.
        options: what is collected, where it is kept, and what the card says.
        progress: show progress bars.

    Raises:
        MissingExtraError: SAELens or matplotlib is not installed.
        UnknownModelError: the model is of no known family.
        SiteError: the model has no such layer, or nothing passes there when it encodes audio.
        SteeringError: the cache holds activations or a training with other settings, there is less audio than one
            batch, or `start` does not fit.
        AudioError: there is no audio.
        HubError: a data set cannot be had.
        WorkError: with an engine, shards could not be made after retries.
        CheckpointError: `out` cannot be written.
    """
    out = Path(out)
    settings, options = settings or TrainSettings(), options or TrainOptions()
    site = layer if isinstance(layer, Site) else Site(layer)
    model = unwrap(model)
    _check_ready(model, site, out, settings, start)
    folder = Path(options.cache) if options.cache is not None else out.with_suffix(".cache")
    layers = [Site(number) for number in options.collect_layers]
    if site not in layers:  # in one order, so that a training of another of them finds them collected
        layers = sorted([*layers, site], key=lambda each: (each.side, each.path or "", each.layer))
    files, names = as_files(audio, folder / "audio", most=options.most, seed=options.collect_seed, progress=progress)
    pooled = settings.pool_seconds if settings.pool == "mean" else None
    collect(
        model, files, layers, folder / "activations", seed=options.collect_seed, progress=progress,
        pool_seconds=pooled, augment=pooled is None, engine=options.engine,
    )  # fmt: skip
    shards = open_shards(folder / "activations", site)
    checkpoints = checkpoints_in(folder / f"layer-{site_key(site)}", settings.seed)
    sae, history = _train(shards, settings, start, checkpoints, progress)
    where = {"path": site.path} if site.path is not None else {"layer": site.layer, "side": site.side}
    sae.info.update({"family": family_of(model).name, **where, **options.info})
    return _write(sae.half(), history, settings, out, names, options.licence)


def _check_ready(model: Any, site: Site, out: Path, settings: TrainSettings, start: SAE | None) -> None:
    """Raise whatever would end the training, before the minutes that collecting takes."""
    if out.suffix != ".safetensors" or out.is_dir():
        raise SteeringError(f"{out}: expected the SAE's file, such as encoder-4.safetensors")
    family = family_of(model)
    tap = tap_at(model, family, site)
    if start is not None:
        check_start(start, settings, None if site.path is not None else tap.size or family.dims(model).d_model)
    if find_spec("matplotlib") is None:
        raise MissingExtraError("the curve is drawn with matplotlib; run: pip install 'audiosae-steer[train]'")
    sae_lens()


def _write(
    sae: SAE, history: History, settings: TrainSettings, out: Path, names: Sequence[str], licence: str | None
) -> SAE:
    from ..publishing.sae_card import write_card

    sae.save(out)
    draw_curve(
        history, settings, out.with_suffix(".png"), "held out" if "held_out" in sae.info else "on training frames"
    )
    write_card(sae, out, names, licence)
    return sae


def train_sae(
    activations: Activations | Shards,
    settings: TrainSettings,
    *,
    start: SAE | None = None,
    checkpoints: Path | None = None,
    progress: bool = True,
) -> SAE:
    """An SAE trained on activations, with its threshold, typical activations and held-out figures.

    Deterministic under its seed; with `checkpoints` an interrupted training resumes, to the same result. No more of the
    shards than a buffer and a sample of their frames is in memory.

    Args:
        activations: frames (frames, d_model) of one layer, in memory or in shards.
        settings: sizes and schedule.
        start: an SAE to train further, in place of random weights.
        checkpoints: folder for the training's checkpoints; None keeps none.
        progress: show a progress bar.

    Raises:
        MissingExtraError: SAELens is not installed.
        SteeringError: there are fewer frames than one batch, `start` does not fit, or `checkpoints` holds a training
            with other settings, on other frames or from another start.
    """
    shards = activations if isinstance(activations, Shards) else Shards.of(*activations)
    return _train(shards, settings, start, checkpoints, progress)[0]


def _train(
    shards: Shards, settings: TrainSettings, start: SAE | None, checkpoints: Path | None, progress: bool
) -> tuple[SAE, History]:
    if not len(shards.train):  # every recording fell to the held-out side, as a lone one does once in twenty times
        shards = Shards(shards.held_out, shards.train, shards.source)
    batches = ShuffledBatches(shards.train, settings.batch, settings.seed, settings.buffer)
    sample = shards.train.sample(SAMPLE, settings.seed)
    scale = scale_of(sample, start)
    trainer = make_trainer(sample, settings, scale, start)
    kind = {
        **settings.as_json(), "frames": len(shards.train), "d_model": shards.train.width, "of": shards.source,
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


def _finish(sae: SAE, shards: Shards, sample: Tensor, settings: TrainSettings) -> SAE:
    with torch.no_grad():
        if sae.gate.kind == "batchtopk":
            sae = sae.calibrate_threshold(torch.split(sample, 4096))
        total, fired = torch.zeros(sae.n_features), torch.zeros(sae.n_features)
        for block in torch.split(sample, 4096):
            f = sae.encode(block)
            total += f.sum(0)
            fired += (f > 0).sum(0)
    held: Tensor | Frames = shards.held_out if len(shards.held_out) else sample
    info = {
        "trainer": versions(),
        "settings": settings.as_json(),
        "frames": {"train": len(shards.train), "held_out": len(shards.held_out)},
        **{name: sae.info[name] for name in ("threshold_calibration",) if name in sae.info},
        "held_out" if len(shards.held_out) else "on_training_frames": measure(sae, held)._asdict(),
    }
    if settings.nested:
        part = held.sample(LOOK, settings.seed) if isinstance(held, Frames) else held[:LOOK]
        info["nested_fvu"] = {str(width): fvu for width, fvu in nested_fvu(sae, part, settings.nested).items()}
    info |= {name: shards.source[key] for name, key in SOURCE.items() if key in shards.source}
    return sae.altered(typical=total / fired.clamp(min=1), info=info)


class _Bar:
    """Progress bar of a training with the last figures; without a terminal, a line for each measurement."""

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
    """Tensors of an SAE that a training which starts from it depends on."""
    scale = torch.tensor([sae.normalisation.scale])
    tensors = [sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, scale]
    return tensors if sae.threshold is None else [*tensors, sae.threshold]


def _digest(*tensors: Tensor) -> str:
    return sha256_of_tensors(tensors)[:16]
