"""Clips as files, for what reads files; and a recipe by contrast, to compare a learned one with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.audio import SAMPLE_RATE
from ...data.clips import Gathered
from ...data.partitions import Side
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe
from ..contrast.discover import discover
from ..contrast.settings import LabelledSources
from ..recipe_output import RecipeOutput


def write_clips(side: Side, folder: Path) -> None:
    """Write clips as FLAC files, in the folders `absent` and `present`, named so that `recording_of` tells groups."""
    for name, kind in side._asdict().items():
        _write(kind, folder / name)


def _write(kind: Gathered, folder: Path) -> None:
    import soundfile

    folder.mkdir(exist_ok=True)
    groups: dict[tuple[str, str], int] = {}
    for number, (clip, samples) in enumerate(zip(kind.clips, kind.samples, strict=True)):
        group = groups.setdefault((clip.source, clip.group), len(groups))
        path = folder / f"group{group:05d}_{number}.flac"
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")


def contrast_recipe(
    model: Any, sae: SAE, source: Any, layer: int, files: Path, folder: Path, model_name: str | None, tell: Tell | None
) -> Recipe:
    """A recipe that lowers the features by which speech differs from what is none, and lets texts be empty.

    Args:
        model: an openai-whisper model.
        sae: of that layer.
        source: where the SAE is from.
        layer: encoder layer, counted from 1.
        files: what `write_clips` wrote.
        folder: where to write `contrast.json`.
        model_name: for the recipe.
        tell: called with what is being done.
    """
    out = folder / "contrast.json"
    given = source if not isinstance(source, SAE) else sae
    clips = LabelledSources(present=[files / "present"], absent=[files / "absent"])
    output = RecipeOutput(path=out, name="contrast", model_name=model_name)
    recipe = discover(model, given, layer, clips, out=output, report=False, progress=tell)
    recipe = recipe.model_copy(update={"allow_empty": True})
    recipe.save(out)
    return recipe
