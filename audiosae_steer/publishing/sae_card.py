"""The card of a trained SAE: what it is, the two lines that use it, how it was made, and how well it explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.datasets import parse
from ..errors import CheckpointError
from ..io.files import write_whole
from ..models.load import NAMES
from ..sae.autoencoder import SAE
from .card import base_model

GATES = {
    "batchtopk": "BatchTopK (Bussmann et al., arXiv 2412.06410)",
    "matryoshka": "Matryoshka BatchTopK (Bussmann et al., arXiv 2503.17547)",
}


def write_card(sae: SAE, file: Path, audio: Sequence[str | Path], licence: str | None = None) -> Path:
    """Write the card beside an SAE's file, under its name with `.md`; whole or not at all.

    Args:
        sae: as `train` gives it, with its settings and figures in `info`.
        file: where it lies.
        audio: the sources that it was trained on; of folders only the names are shown.
        licence: as the Hub abbreviates it; None leaves the choice open.

    Raises:
        CheckpointError: it cannot be written there.
    """
    model = str(sae.info["model"]) if "model" in sae.info else None
    named = Path(model).name if model is not None and Path(model).exists() else model
    where = f"module {sae.info['path']}" if "path" in sae.info else f"{sae.info['side']} layer {sae.info['layer']}"
    parts = [
        _front(sae, base_model(model), audio, licence),
        f"# An SAE of {where} of {named or sae.info['family']}",
        f"`{file.name}`: {sae.d_model} → {sae.n_features:,} features, {GATES[sae.info['settings']['architecture']]}, "
        f"k = {sae.gate.k}; with a threshold, so that each feature has a gate of its own, and the typical activation "
        "of each. Layers count from 1.",
        _use(sae, file, model, named),
        _how(sae),
        _measured(sae, file),
        _data(audio, licence),
    ]
    path = file.with_suffix(".md")
    write_whole(path, "\n\n".join(parts) + "\n", CheckpointError)
    return path


def _front(sae: SAE, base: str | None, audio: Sequence[str | Path], licence: str | None) -> str:
    lines = ["---", "library_name: audiosae-steer"]
    if base is not None:
        lines.append(f"base_model: {base}")
    if licence is not None:
        lines.append(f"license: {licence}")
    lines += ["tags:", *(f"- {tag}" for tag in ("audiosae-steer", "sparse-autoencoder", sae.info["family"]))]
    repos = [spec.repo for spec in map(parse, map(str, audio)) if spec is not None]
    if repos:
        lines += ["datasets:", *(f"- {repo}" for repo in dict.fromkeys(repos))]
    return "\n".join([*lines, "---"])


def _use(sae: SAE, file: Path, model: str | None, named: str | None) -> str:
    info = sae.info
    if "path" in info:
        site = f'site=audiosae_steer.Site(path="{info["path"]}")'
    else:
        site = f"layer={info['layer']}" + ("" if info["side"] == "encoder" else f', side="{info["side"]}"')
    if info["family"] == "whisper":
        loaded = f'audiosae_steer.load_whisper("{model if model in NAMES else named or "…"}")'
    else:
        loaded = f'audiosae_steer.load_model("{named or "…"}")'
    return "\n".join(
        [
            "## Use it",
            "",
            "```python",
            "import audiosae_steer",
            "",
            f'model, sae = {loaded}, audiosae_steer.load_sae("{file.name}")',
            f"audiosae_steer.steer(model, sae=sae, {site}, edits=[audiosae_steer.Ablate([17])])",
            "```",
        ]
    )


def _how(sae: SAE) -> str:
    info, settings = sae.info, sae.info["settings"]
    lines = ["## How it was made", ""]
    if "command" in info:
        lines += [f"```sh\n{info['command']}\n```", ""]
    frames = settings["steps"] * settings["batch"]
    passes = frames / max(info["frames"]["train"], 1)
    clips = f", of {info['clips']:,} clips of at most 30 s" if "clips" in info else ""
    lines += [
        f"By {info['trainer']}: {settings['steps']:,} steps of {settings['batch']:,} frames, {passes:.1f} times each "
        f"of {info['frames']['train']:,} frames{clips}; learning rate {settings['lr']:g}, falling over the last third; "
        f"seed {settings['seed']}.",
        "",
        f"The threshold lets {sae.gate.k} features fire per frame, on average over "
        f"{info['threshold_calibration']['frames']:,} of these frames.",
    ]
    if info.get("started_from"):
        lines += ["", f"It goes on from {info['started_from']}."]
    return "\n".join(lines)


def _measured(sae: SAE, file: Path) -> str:
    held = sae.info.get("held_out")
    figures: Mapping[str, Any] = held or sae.info["on_training_frames"]
    what = (
        f"On {sae.info['frames']['held_out']:,} frames of recordings that training had no part of."
        if held
        else "On frames that it was trained on: with so few recordings, none was held out. On others it explains less."
    )
    lines = [
        "## Measured",
        "",
        what,
        "",
        "| | all frames | without far frames |",
        "|---|---|---|",
        f"| FVU, fraction of variance unexplained | {figures['fvu']:.3f} | {figures['fvu_near']:.3f} |",
        f"| L0, features that fire per frame | {figures['l0']:.1f} | {figures['l0_near']:.1f} |",
        f"| features that never fire | {figures['dead']:.1%} | |",
        "",
        f"Far frames ({figures['far']:.2%}) have a norm above four times the median; where there are such, they "
        "dominate the variance of all.",
    ]
    if "nested_fvu" in sae.info:
        lines += ["", "| first features | FVU without far frames |", "|---|---|"]
        lines += [f"| {int(width):,} | {fvu:.3f} |" for width, fvu in sae.info["nested_fvu"].items()]
    lines += ["", f"![FVU, L0 and silent features over the steps of training]({file.with_suffix('.png').name})"]
    return "\n".join(lines)


def _data(audio: Sequence[str | Path], licence: str | None) -> str:
    lines = ["## Data and licences", ""]
    for source in audio:
        spec = parse(str(source))
        note = spec.preset.note if spec is not None and spec.preset is not None else ""
        name = str(source) if spec is not None else Path(source).name
        lines.append(f"- `{name}`" + (f": {note}" if note else ": its licence is that of its own page or folder"))
    own = f"This file is under the licence {licence}." if licence else "No licence was chosen for this file yet."
    return "\n".join([*lines, "", f"No audio is part of this file. {own}"])
