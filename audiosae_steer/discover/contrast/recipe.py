"""A recipe of what discovery found: its edits, its SAE beside it, and how it came about."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ...io.files import whole
from ...sae.autoencoder import SAE
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import ModelSpec, Recipe, SiteSpec
from .results import AMOUNTS, Found

LISTED = 60
"""Most held-out recordings that a recipe lists by name; the table beside it always has them all."""


def compose(
    found: Found,
    model: Any,
    sae: SAE,
    placed: SAESpec,
    layer: int,
    name: str,
    model_name: str | None,
    command: str | None,
    data: dict[str, list[str]],
) -> Recipe:
    """The recipe of what was found."""
    return Recipe(
        schema=1,
        name=name,
        description=_description(found),
        model=ModelSpec.of(model, model_name),
        saes={"sae": placed},
        sites=[SiteSpec(layer=layer, sae="sae", edits=[edit_of(found, sae)])],
        allow_empty=found.settings.target != "labels",  # to write nothing is then what is wanted
        provenance=_provenance(found, command, data),
        measured=_measured(found),
    )


def edit_of(found: Found, sae: SAE) -> dict[str, Any]:
    """The edit of the top features, as a recipe writes it."""
    kind = found.settings.edit
    features = [feature.number for feature in found.features]
    amount = AMOUNTS[kind] if found.settings.amount is None else found.settings.amount
    edit: dict[str, Any] = {"kind": kind, "features": features}
    if kind == "scale":
        edit["factor"] = amount
    elif kind == "clamp":
        usual = found.peaks[~found.held & ~found.labels].mean(0)
        edit["high"] = [round(float(amount * peak), 6) for peak in usual]
    elif kind == "add":
        signs = [-1.0 if feature.weight > 0 else 1.0 for feature in found.features]
        if sae.typical is not None:
            return {**edit, "amount": [amount * sign for sign in signs], "units": "typical"}
        fitted = np.ma.masked_less_equal(found.peaks[~found.held], 0.0)
        usual = fitted.mean(0).filled(0.0)
        edit["amount"] = [round(float(amount * sign * peak), 6) for sign, peak in zip(signs, usual, strict=True)]
    return edit


def write_table(found: Found, path: Path) -> None:
    """Every clip with its recording, label and side of the split, as a CSV; whole or not at all."""
    with whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "start_seconds", "group", "label", "side", "pad"])
        rows = zip(found.clips, found.groups, found.pads, found.labels, found.held, strict=True)
        for clip, group, pad, label, held in rows:
            side = "held out" if held else "fit"
            writer.writerow([clip.path.name, f"{clip.start / 16_000:g}", Path(group).name, int(label), side, pad])


def _description(found: Found) -> str:
    what = {
        "labels": "the concept",
        "text": "that the model writes text",
        "words": "that the model writes words",
        "no_speech_prob": f"a no_speech_prob below {found.settings.tau:g}",
    }[found.settings.target]
    verb = {"ablate": "Ablates", "scale": "Scales", "clamp": "Clamps", "add": "Shifts"}[found.settings.edit]
    return f"{verb} {len(found.features)} features that tell {what}; found by contrast, not calibrated."


def _provenance(found: Found, command: str | None, data: dict[str, list[str]]) -> dict[str, Any]:
    held = sorted({group for group, out in zip(found.groups, found.held, strict=True) if out})
    fitted = {group for group, out in zip(found.groups, found.held, strict=True) if not out}
    counts = {
        side: dict(zip(("with", "without"), found.tally(held), strict=True))
        for side, held in (("fit", False), ("held_out", True))
    }
    return {
        **({"command": command} if command else {}),
        "discovered": found.settings._asdict(),
        "data": {key: names for key, names in data.items() if names},
        "split": {
            "by": "file" if found.settings.groups == "file" else "recording: pieces of one are on one side",
            "recordings": {"fit": len(fitted), "held_out": len(held)},
            "clips": counts,
            "held_out": ", ".join(Path(group).name for group in held[:LISTED]) + (", …" if len(held) > LISTED else ""),
        },
    }


def _measured(found: Found) -> dict[str, Any]:
    best = max(found.features, key=lambda feature: abs(feature.auc - 0.5))

    def listed(field: str) -> list[float]:
        return [round(getattr(feature, field), 4) for feature in found.features]

    return {
        "held_out": {
            "probe_auc": round(found.probe.auc, 4),
            "probe_auc_interval": [round(found.probe.low, 4), round(found.probe.high, 4)],
            "random_features_auc": round(found.random, 4),
            "best_feature": best.number,
            "best_feature_auc": round(best.auc, 4),
        },
        "features": {
            field: listed(field)
            for field in ("weight", "auc", "stability", "mean_present", "mean_absent", "fires_present", "fires_absent")
        },
    }
