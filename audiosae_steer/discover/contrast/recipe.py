"""Recipes of what discovery found: edits, SAE, provenance and figures."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...data.audio import SAMPLE_RATE
from ...data.labels import Sources
from ...io.files import atomic_file
from ...sae.autoencoder import SAE
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import ModelSpec, Recipe, SiteSpec
from ..recipe_output import RecipeOutput
from .results import ContrastResult, LabelledRows
from .settings import EditKind, LabelledSources

AMOUNTS: dict[EditKind, float] = {"ablate": 0.0, "scale": 0.5, "clamp": 1.0, "add": 1.0}
"""Amounts of the edits where none is given; see `DiscoverSettings.amount`."""

LISTED = 60
"""Most held-out recordings that a recipe lists by name; the table beside it always has them all."""


def build_recipe(
    found: ContrastResult,
    model: Any,
    sae: SAE,
    layer: int,
    placed: SAESpec,
    output: RecipeOutput,
    clips: LabelledSources,
) -> Recipe:
    """Recipe of an edit of the top features.

    Args:
        found: the features.
        model: the Whisper that they were found with.
        sae: the SAE.
        layer: encoder layer that it reads, counted from 1.
        placed: the SAE as the recipe names it.
        output: names and command.
        clips: sources of the clips, for the provenance.
    """
    return Recipe(
        schema=1,
        name=output.title,
        description=_description(found),
        model=ModelSpec.of(model, output.model_name),
        saes={"sae": placed},
        sites=[SiteSpec(layer=layer, sae="sae", edits=[edit_of(found, sae)])],
        allow_empty=found.settings.target != "labels",  # to write nothing is then what is wanted
        provenance=_provenance(found, output.command, clips),
        measured=_measured(found),
    )


def edit_of(found: ContrastResult, sae: SAE) -> dict[str, Any]:
    """Edit of the top features, as a recipe writes it."""
    kind = found.settings.edit
    features = [feature.number for feature in found.features]
    amount = AMOUNTS[kind] if found.settings.amount is None else found.settings.amount
    edit: dict[str, Any] = {"kind": kind, "features": features}
    if kind == "scale":
        edit["factor"] = amount
    elif kind == "clamp":
        usual = found.peaks[~found.rows.held & ~found.rows.labels].mean(0)
        edit["high"] = [round(float(amount * peak), 6) for peak in usual]
    elif kind == "add":
        signs = [-1.0 if feature.weight > 0 else 1.0 for feature in found.features]
        if sae.typical is not None:
            return {**edit, "amount": [amount * sign for sign in signs], "units": "typical"}
        fitted = np.ma.masked_less_equal(found.peaks[~found.rows.held], 0.0)
        usual = fitted.mean(0).filled(0.0)
        edit["amount"] = [round(float(amount * sign * peak), 6) for sign, peak in zip(signs, usual, strict=True)]
    return edit


def write_table(rows: LabelledRows, path: Path) -> None:
    """Write every clip with its recording, label and side of the split as a CSV, atomically."""
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "start_seconds", "group", "label", "side", "pad"])
        for clip, group, pad, label, held in zip(
            rows.clips, rows.groups, rows.pads, rows.labels, rows.held, strict=True
        ):
            side = "held out" if held else "fit"
            writer.writerow([clip.path.name, f"{clip.start / SAMPLE_RATE:g}", Path(group).name, int(label), side, pad])


def _description(found: ContrastResult) -> str:
    what = {
        "labels": "the concept",
        "text": "that the model writes text",
        "words": "that the model writes words",
        "no_speech_prob": f"a no_speech_prob below {found.settings.tau:g}",
    }[found.settings.target]
    verb = {"ablate": "Ablates", "scale": "Scales", "clamp": "Clamps", "add": "Shifts"}[found.settings.edit]
    return f"{verb} {len(found.features)} features that tell {what}; found by contrast, not calibrated."


def _provenance(found: ContrastResult, command: str | None, clips: LabelledSources) -> dict[str, Any]:
    rows = found.rows
    held, fitted = sorted(set(rows.groups_of(held=True))), set(rows.groups_of(held=False))
    counts = {
        side: dict(zip(("with", "without"), rows.tally(out), strict=True))
        for side, out in (("fit", False), ("held_out", True))
    }
    labels = () if clips.labels is None else (clips.labels,)
    data = {"with": _names(clips.present), "without": _names(clips.absent), "labels": _names(labels)}
    return {
        **({"command": command} if command else {}),
        "discovered": asdict(found.settings),
        "data": {key: names for key, names in data.items() if names},
        "split": {
            "by": "file" if found.settings.groups == "file" else "recording: pieces of one are on one side",
            "recordings": {"fit": len(fitted), "held_out": len(held)},
            "clips": counts,
            "held_out": ", ".join(Path(group).name for group in held[:LISTED]) + (", …" if len(held) > LISTED else ""),
        },
    }


def _names(sources: Sources) -> list[str]:
    """Names without their folders, which differ from machine to machine."""
    return [Path(source).name for source in sources]


def _measured(found: ContrastResult) -> dict[str, Any]:
    def listed(field: str) -> list[float]:
        return [round(getattr(feature, field), 4) for feature in found.features]

    return {
        "held_out": {
            "probe_auc": round(found.probe.auc, 4),
            "probe_auc_interval": [round(found.probe.low, 4), round(found.probe.high, 4)],
            "random_features_auc": round(found.random_auc, 4),
            "best_feature": found.best.number,
            "best_feature_auc": round(found.best.auc, 4),
        },
        "features": {
            field: listed(field)
            for field in ("weight", "auc", "stability", "mean_present", "mean_absent", "fires_present", "fires_absent")
        },
    }
