"""Card of a trained SAE: its use, training, figures and data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.datasets import parse
from ..errors import CheckpointError
from ..io.files import write_atomic
from ..models.load import NAMES
from ..sae.autoencoder import SAE
from .card import TAG, base_model, dataset_ids, licence_lines, render

ARCHITECTURES = {
    "batchtopk": "BatchTopK (Bussmann et al., arXiv 2412.06410)",
    "matryoshka": "Matryoshka BatchTopK (Bussmann et al., arXiv 2503.17547)",
    "topk": "TopK (Gao et al., arXiv 2406.04093)",
    "relu-rms": "ReLU and RMSNorm under an L1 loss (Paek et al., arXiv 2510.23802)",
}
"""Architectures that `train` knows, with their sources."""


def write_card(sae: SAE, file: Path, audio: Sequence[str | Path], licence: str | None = None) -> Path:
    """Write the card beside an SAE's file, under its name with `.md`, atomically.

    Args:
        sae: SAE of `train`, with its settings and figures in `info`.
        file: file of the SAE.
        audio: sources that it was trained on; of folders only the names are shown.
        licence: licence as the Hub abbreviates it; None leaves the choice open.

    Raises:
        CheckpointError: the card cannot be written there.
    """
    info = sae.info
    model = str(info["model"]) if "model" in info else None
    named = Path(model).name if model is not None and Path(model).exists() else model
    sources = [str(source) if parse(str(source)) is not None else Path(source).name for source in audio]
    header = {
        "library_name": TAG,
        "base_model": base_model(model),
        "license": licence,
        "tags": [TAG, "sparse-autoencoder", info["family"]],
        "datasets": dataset_ids(map(str, audio)),
    }
    text = render(
        "sae_card",
        header,
        sae=sae,
        info=info,
        file=file.name,
        curve=file.with_suffix(".png").name,
        place=f"module {info['path']}" if "path" in info else f"{info['side']} layer {info['layer']}",
        named=named,
        architecture=ARCHITECTURES[info["settings"]["architecture"]],
        known=model if model in NAMES else named or "…",
        passes=info["settings"]["steps"] * info["settings"]["batch"] / max(info["frames"]["train"], 1),
        figures=info.get("held_out") or info["on_training_frames"],
        licence=licence,
        licences=licence_lines(sources),
    )
    path = file.with_suffix(".md")
    write_atomic(path, text, CheckpointError)
    return path
