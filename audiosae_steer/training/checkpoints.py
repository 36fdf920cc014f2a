"""Checkpoints of a training, written atomically, from which an interrupted one resumes to the same result."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from ..errors import SteeringError
from ..sae.quality import Figures
from .curve import History

_DAMAGED = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError, pickle.UnpicklingError
)  # fmt: skip


def checkpoints_in(folder: Path, seed: int) -> Path:
    """The folder for the checkpoints of one seed in that of a site; seed 0 has the site's own, as in all versions."""
    return folder if seed == 0 else folder / f"seed-{seed}"


def save(trainer: Any, folder: Path, kind: dict[str, Any], history: list[dict[str, float]]) -> None:
    """Write a checkpoint's folder, rename it into place, and remove older ones; a kill leaves the one before.

    Args:
        trainer: SAELens' trainer.
        folder: of this training's checkpoints.
        kind: settings and digests that tell this training from others, as JSON has them.
        history: figures so far.

    Raises:
        SteeringError: it cannot be written.
    """
    whole = folder / f"step-{trainer.n_training_steps:07d}"
    part = folder / "step.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        trainer.save_trainer_state(part)
        torch.save(trainer.sae.state_dict(), part / "sae.pt")
        (part / "settings.json").write_text(json.dumps(kind), encoding="utf-8")
        (part / "history.json").write_text(json.dumps(history), encoding="utf-8")
        for file in part.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        older = found_in(folder)
        os.replace(part, whole)
    except (OSError, RuntimeError) as error:  # torch tells a full disk by a RuntimeError
        shutil.rmtree(part, ignore_errors=True)
        raise SteeringError(
            f"no checkpoint can be written to {folder} ({getattr(error, 'strerror', None) or error}); make room, or "
            "give another cache: training resumes from the last complete one"
        ) from error
    for before in older:
        if before != whole:
            shutil.rmtree(before, ignore_errors=True)


def resume(trainer: Any, folder: Path, kind: dict[str, Any]) -> list[dict[str, float]]:
    """Load the newest checkpoint, if there is one, into the trainer; the figures until then.

    Raises:
        SteeringError: it is of another training, or damaged.
    """
    found = found_in(folder)
    if not found:
        return []
    newest, kind = found[-1], json.loads(json.dumps(kind))
    try:
        before = json.loads((newest / "settings.json").read_text(encoding="utf-8"))
        other = sorted(key for key in {*before, *kind} if before.get(key) != kind.get(key))
        if not other:
            trainer.sae.load_state_dict(torch.load(newest / "sae.pt", weights_only=True))
            trainer.load_trainer_state(newest)
            history = History(json.loads((newest / "history.json").read_text(encoding="utf-8")))
            for name in (*Figures._fields, "not_fired_lately"):  # the curve is drawn after the last step
                history.series(name)
            return history.rows
    except _DAMAGED as error:
        raise SteeringError(f"{newest} is damaged ({error}); remove it to start anew") from error
    raise SteeringError(
        f"{folder} holds a training with other settings ({', '.join(other)}); give another folder or empty it"
    )


def found_in(folder: Path) -> list[Path]:
    """Folders of the checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())
