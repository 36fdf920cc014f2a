"""Train an SAE on a model's activations, with SAELens' trainer."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import MissingExtraError, SteeringError
from ..sae import SAE, Gate, Normalisation
from .collect import Activations, collect, load_activations

SAVE_EVERY = 500
"""Steps between two checkpoints."""


class Settings(NamedTuple):
    """How to train; the defaults suit a small Whisper on two cores."""

    n_features: int = 3072
    """Size of the dictionary."""
    k: int = 32
    """Features that fire per frame, on average."""
    steps: int = 3000
    """Batches to train on."""
    batch: int = 2048
    """Frames a batch."""
    lr: float = 8e-4
    """Adam's learning rate, falling to nothing over the last third."""
    seed: int = 0
    """Of the weights and of the order of the frames."""


class Figures(NamedTuple):
    """How well an SAE explains activations."""

    fvu: float
    """Fraction of variance unexplained."""
    l0: float
    """Features that fire per frame."""
    dead: float
    """Share of the features that never fire on these activations."""


def train(
    model: Any,
    layer: int,
    audio: Sequence[str | Path],
    out: str | Path,
    *,
    settings: Settings | None = None,
    cache: str | Path | None = None,
    collect_layers: Sequence[int] | None = None,
    info: dict[str, Any] | None = None,
    progress: bool = True,
) -> SAE:
    """Collect activations, train a BatchTopK SAE on them, calibrate and measure it, and write the native file.

    Args:
        model: a Whisper of either library.
        layer: encoder layer, counted from 1.
        audio: folders, files, or `.txt` lists of them.
        out: where to write the SAE (`.safetensors`, float16).
        settings: sizes and schedule.
        cache: folder for activations and training checkpoints, with which an interrupted run goes on; by default beside
            `out`.
        collect_layers: layers to collect in the same pass over the audio, for training several.
        info: provenance to store in the file.
        progress: show progress bars.

    Raises:
        MissingExtraError: SAELens is not installed.
        SteeringError: `cache` holds a training with other settings, or there is less audio than one batch.
        AudioError: there is no audio.
    """
    _sae_lens()  # before the minutes that collecting takes
    out = Path(out)
    settings = settings or Settings()
    folder = Path(cache) if cache is not None else out.with_suffix(".cache")
    collect(model, audio, collect_layers or [layer], folder / "activations", seed=settings.seed, progress=progress)
    activations = load_activations(folder / "activations", layer)
    sae = train_sae(activations, settings, checkpoints=folder / f"layer-{layer}", progress=progress)
    sae.info.update({"layer": layer, "side": "encoder", **(info or {})})
    sae.half().save(out)
    return sae


def train_sae(
    activations: Activations, settings: Settings, *, checkpoints: Path | None = None, progress: bool = True
) -> SAE:
    """A BatchTopK SAE of activations, with its threshold, typical activations and held-out figures.

    Deterministic under its seed; with `checkpoints` an interrupted training goes on to the same result.

    Raises:
        MissingExtraError: SAELens is not installed.
        SteeringError: there are fewer frames than one batch, or `checkpoints` holds a training with other settings.
    """
    order = _Order(len(activations.train), settings.batch, settings.seed)
    trainer = _trainer(activations.train, settings)
    scale = _scale(activations.train)
    kind = {**settings._asdict(), "frames": len(activations.train), "d_model": activations.train.shape[1]}
    start = _resume(trainer, checkpoints, kind)
    held_out = activations.held_out[:: max(1, len(activations.held_out) // 8192)].float()
    show = _Bar(settings.steps, progress)
    for step in range(start, settings.steps):
        trainer.step(activations.train[order.batch_of(step)].float() * scale)
        trainer.n_training_steps += 1
        if (step + 1) % 100 == 0 or step + 1 == settings.steps:
            found = measure(_convert(trainer.sae, settings, scale), held_out) if len(held_out) else None
            show.update(step + 1, found)
        if checkpoints is not None and ((step + 1) % SAVE_EVERY == 0 or step + 1 == settings.steps):
            _save(trainer, checkpoints, kind)
    show.close()
    return _finish(_convert(trainer.sae, settings, scale), activations, settings)


def measure(sae: SAE, activations: Tensor) -> Figures:
    """FVU, L0 and the share of features that never fire, on activations (frames, d_model)."""
    fired = torch.zeros(sae.n_features)
    missing, total, count = 0.0, 0.0, 0
    mean = activations.float().mean(0)
    with torch.no_grad():
        for block in torch.split(activations.float(), 4096):
            f = sae.encode(block)
            missing += float((sae.decode(f, like=block) - block).square().sum())
            total += float((block - mean).square().sum())
            fired += (f > 0).sum(0)
            count += len(block)
    return Figures(missing / total, float(fired.sum()) / count, float((fired == 0).float().mean()))


class _Order:
    """Which frames make up batch n: a new permutation for every pass, each a function of the seed alone."""

    def __init__(self, frames: int, batch: int, seed: int) -> None:
        if frames < batch:
            raise SteeringError(
                f"{frames} frames are fewer than one batch of {batch}; give more audio or a smaller batch"
            )
        self.frames, self.batch, self.seed = frames, batch, seed
        self.per_pass = frames // batch
        self.held: tuple[int, Tensor] | None = None

    def batch_of(self, step: int) -> Tensor:
        turn, at = divmod(step, self.per_pass)
        if self.held is None or self.held[0] != turn:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + turn)
            self.held = (turn, torch.randperm(self.frames, generator=generator))
        return self.held[1][at * self.batch : (at + 1) * self.batch]


def _sae_lens() -> Any:
    try:
        import sae_lens
    except ImportError as error:
        raise MissingExtraError("training needs SAELens; run: pip install 'audiosae-steer[train]'") from error
    return sae_lens


def _scale(frames: Tensor) -> float:
    """What brings the frames' mean norm to √d, as SAELens wants its inputs."""
    return math.sqrt(frames.shape[1]) / float(frames[:200_000].float().norm(dim=-1).mean())


def _trainer(frames: Tensor, settings: Settings) -> Any:
    lens = _sae_lens()
    from sae_lens.config import SAETrainerConfig

    torch.manual_seed(settings.seed)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    sae = lens.BatchTopKTrainingSAE(
        lens.BatchTopKTrainingSAEConfig(
            d_in=frames.shape[1],
            d_sae=settings.n_features,
            k=float(settings.k),
            apply_b_dec_to_input=True,
            normalize_activations="none",
        )
    )
    sae.b_dec.data = frames[:200_000].float().mean(0) * _scale(frames)
    config = SAETrainerConfig(
        total_training_samples=settings.steps * settings.batch,
        train_batch_size_samples=settings.batch,
        lr=settings.lr,
        lr_end=settings.lr / 100,
        lr_scheduler_name="constant",
        lr_warm_up_steps=min(100, settings.steps // 10),
        lr_decay_steps=settings.steps // 3,
        dead_feature_window=200,
        logger=lens.LoggingConfig(log_to_wandb=False),
    )
    return lens.SAETrainer(config, sae, data_provider=iter(()))


def _convert(sae: Any, settings: Settings, scale: float) -> SAE:
    """Our SAE of a SAELens one: x − b_dec goes in, and the decoder's norms are folded into the activations."""
    with torch.no_grad():
        norms = sae.W_dec.norm(dim=-1) if sae.cfg.rescale_acts_by_decoder_norm else torch.ones(settings.n_features)
        return SAE(
            (sae.W_enc * norms).T.clone(),
            sae.b_enc * norms,
            sae.W_dec / norms[:, None],
            sae.b_dec.clone(),
            gate=Gate("batchtopk", settings.k),
            threshold=sae.topk_threshold.float().clamp(min=0),
            normalisation=Normalisation("scalar", scale),
        )


def _finish(sae: SAE, activations: Activations, settings: Settings) -> SAE:
    generator = torch.Generator().manual_seed(settings.seed)
    some = activations.train[torch.randperm(len(activations.train), generator=generator)[:65_536]].float()
    with torch.no_grad():
        sae = sae.calibrate_threshold(torch.split(some, 4096))
        total, fired = torch.zeros(sae.n_features), torch.zeros(sae.n_features)
        for block in torch.split(some, 4096):
            f = sae.encode(block)
            total += f.sum(0)
            fired += (f > 0).sum(0)
    info = {
        "trainer": _versions(),
        "settings": settings._asdict(),
        "frames": {"train": len(activations.train), "held_out": len(activations.held_out)},
        "threshold_calibration": sae.info["threshold_calibration"],
    }
    if len(activations.held_out):
        info["held_out"] = measure(sae, activations.held_out)._asdict()
    return SAE(
        sae.W_enc,
        sae.b_enc,
        sae.W_dec,
        sae.b_dec,
        gate=sae.gate,
        threshold=sae.threshold,
        normalisation=sae.normalisation,
        typical=total / fired.clamp(min=1),
        info=info,
    )


def _versions() -> str:
    from importlib.metadata import version

    return f"sae-lens {version('sae-lens')}, torch {torch.__version__}"


def _save(trainer: Any, folder: Path, kind: dict[str, Any]) -> None:
    """A folder for each checkpoint, renamed into place when it is whole: a kill leaves the one before."""
    whole = folder / f"step-{trainer.n_training_steps:07d}"
    part = folder / "step.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    trainer.save_trainer_state(part)
    torch.save(trainer.sae.state_dict(), part / "sae.pt")
    (part / "settings.json").write_text(json.dumps(kind), encoding="utf-8")
    older = _checkpoints(folder)
    os.replace(part, whole)
    for before in older:
        if before != whole:
            shutil.rmtree(before)


def _resume(trainer: Any, folder: Path | None, kind: dict[str, Any]) -> int:
    found = [] if folder is None else _checkpoints(folder)
    if not found:
        return 0
    if json.loads((found[-1] / "settings.json").read_text(encoding="utf-8")) != kind:
        raise SteeringError(f"{folder} holds a training with other settings; give another folder or empty it")
    trainer.sae.load_state_dict(torch.load(found[-1] / "sae.pt", weights_only=True))
    trainer.load_trainer_state(found[-1])
    return int(trainer.n_training_steps)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


class _Bar:
    def __init__(self, steps: int, progress: bool) -> None:
        self.bar: Any = None
        self.steps = steps
        if progress:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, TextColumn("{task.description}"))
            self.task = self.bar.add_task("", total=steps)
            self.bar.start()

    def update(self, step: int, figures: Figures | None) -> None:
        if self.bar is None:
            return
        text = "" if figures is None else f"FVU {figures.fvu:.3f}  L0 {figures.l0:.1f}  silent {figures.dead:.1%}"
        self.bar.update(self.task, completed=step, description=text)
        if not self.bar.console.is_terminal:  # a log file shows no bar before its end
            self.bar.console.print(f"step {step}/{self.steps}  {text}", highlight=False)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
