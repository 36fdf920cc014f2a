"""Descriptions of a model, an SAE or a recipe, in words."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import fill
from typing import Any

from torch import Tensor

from ..errors import AudioSAESteerError, CheckpointError
from ..io.files import MARK
from ..io.hub.read import listing
from ..io.paths import local
from ..io.shipped import shipped_folders
from ..models.load import NAMES, load_whisper
from ..models.marker import marked
from ..models.registry import family_of, fingerprint
from ..models.sites import Site
from ..sae.autoencoder import SAE
from ..sae.formats.layers import files_in, layers_of
from ..sae.formats.registry import FORMATS
from ..sae.load import hub_place, load_sae
from .recipe_prose import told
from .recipes.load import load_recipe, recipes, shipped
from .recipes.schema import Recipe
from .record_words import plain


def explain(thing: str, layer: int | None = None) -> str:
    """Describe a model, an SAE or a recipe, told apart by what it is and not by what it is called.

    Raises:
        AudioSAESteerError: it is not any of these, or damaged; the error is that of loading it.
    """
    path = local(thing, AudioSAESteerError)
    model = model_in(path)
    if model is not None:  # a baked one has its recipe beside it
        return of_model(load_whisper(model), thing)
    if path.suffix == ".json" or os.path.isfile(path / "recipe.json") or thing in {recipe.name for recipe in shipped()}:
        named = [recipe for recipe in shipped() if recipe.name == thing]
        return "\n\n".join(of_recipe(recipe) for recipe in named) if named else of_recipe(load_recipe(thing))
    if layer is not None and not path.exists() and thing in shipped_folders():
        return of_sae(load_sae(thing, layer))
    if path.exists() and _is_sae(path):
        return of_sae(load_sae(path, layer))
    place = None if path.exists() else hub_place(thing)
    if place is not None and place.folder:
        return of_sae(load_sae(thing, layer))
    if (
        thing in NAMES
        or path.exists()
        or thing.startswith("openai/whisper")
        or ("whisper" in path.name.lower() and layer is None)
    ):
        return of_model(load_whisper(thing), thing)
    if thing.count("/") == 1:
        if layer is None and "recipe.json" in listing(thing).files:
            return of_recipe(load_recipe(thing))
        return of_sae(load_sae(thing, layer))
    return of_model(load_whisper(thing), thing)


def of_model(model: Any, name: str) -> str:
    """Family, sizes, sites, and the recipes that fit."""
    family = family_of(model)
    dims = family.dims(model)
    rate = family.frame_rate(model, Site(1)) or 0.0
    fitting = recipes(model)
    lines = [
        f"{name}: a {family.name} ({family.library} class {type(model).__name__})",
        f"  residual width {dims.d_model}, vocabulary {dims.vocabulary:,}",
        f"  sites: encoder layers 1 to {dims.encoder_layers} ({rate:g} frames a second), decoder layers 1 to "
        f"{dims.decoder_layers} (one frame a token)",
        f"  fingerprint {fingerprint(model)}",
        *([f"  baked in: {', '.join(baked)}"] if (baked := marked(model)) else []),
    ]
    for recipe in fitting:
        same = recipe.model.fingerprint == fingerprint(model)
        lines.append(
            f"  recipe {recipe.name}: {'made for these weights' if same else 'made for other weights of this shape'}"
        )
    if not fitting:
        lines.append("  no shipped recipe fits it; train an SAE for it: audiosae-steer train --help")
    return "\n".join(lines)


def of_sae(sae: SAE) -> str:
    """Sizes, gate, threshold, normalisation, and where it comes from."""
    gate = sae.gate.kind + (f", k = {sae.gate.k}" if sae.gate.k is not None else "")
    if sae.gain is not None:
        gate += f", epsilon = {sae.gate.epsilon:g}, gain {_span(sae.gain)}"
    if sae.threshold is None:
        slow = " (the true selection is run; `audiosae-steer calibrate-threshold` makes it fast)"
        threshold = "none" + (slow if sae.gate.k else "")
    else:
        threshold = _span(sae.threshold)
    norm = sae.normalisation
    lines = [
        f"SAE: {sae.n_features:,} features of a residual {sae.d_model} wide ({sae.n_features / sae.d_model:g}x)",
        f"  gate: {gate}; threshold: {threshold}",
        f"  input normalisation: {norm.kind}" + ("" if norm.kind == "none" else f", {norm.scale:.4g}"),
        f"  typical activations: {'stored' if sae.typical is not None else 'not stored'}; weights in {sae.W_enc.dtype}",
    ]
    return "\n".join(lines + plain(sae.info))


def _span(numbers: Tensor) -> str:
    """One number, or the least and the largest of several."""
    if numbers.dim() == 0:
        return f"{float(numbers):.4g}"
    return f"one per feature, {float(numbers.min()):.4g} to {float(numbers.max()):.4g}"


def of_recipe(recipe: Recipe) -> str:
    """Model, edits, gate, and how it was found and measured, in paragraphs of 100 columns."""
    return "\n\n".join(fill(each, 100, break_long_words=False, break_on_hyphens=False) for each in told(recipe))


def model_in(folder: Path) -> Path | None:
    """The Whisper in a folder, as `load_whisper` takes it; None if there is none."""
    if (folder / "config.json").is_file():
        weights = ("model*.safetensors", "pytorch_model*.bin", "model.bin")
        return folder if any(any(folder.glob(pattern)) for pattern in weights) else None
    files = sorted(folder.glob("*.pt")) if (folder / MARK).is_file() else []
    return files[0] if len(files) == 1 else None


def _is_sae(path: Path) -> bool:
    try:
        if path.is_dir() and layers_of(files_in(path)):
            return True
        return any(format_.recognises(path) for format_ in FORMATS)
    except CheckpointError:
        return True  # an SAE, but a damaged one: loading it says how
