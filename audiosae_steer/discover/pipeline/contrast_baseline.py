"""Baseline found by contrast, to compare the learned recipe with."""

from __future__ import annotations

from pathlib import Path

from ...data.audio import SAMPLE_RATE
from ...data.clips import ClipSet
from ...data.partitions import Partition
from ...sae.autoencoder import SAE
from ..contrast.discover import discover
from ..contrast.settings import LabelledSources
from ..recipe_output import RecipeOutput
from .stage_context import StageContext


def write_clips(side: Partition, folder: Path) -> None:
    """Write clips as FLAC files in the folders `absent` and `present`; `recording_of` tells groups by their names."""
    for name, kind in side._asdict().items():
        _write(kind, folder / name)


def _write(kind: ClipSet, folder: Path) -> None:
    import soundfile

    folder.mkdir(exist_ok=True)
    groups: dict[tuple[str, str], int] = {}
    for number, (clip, samples) in enumerate(zip(kind.clips, kind.samples, strict=True)):
        group = groups.setdefault((clip.source, clip.group), len(groups))
        path = folder / f"group{group:05d}_{number}.flac"
        soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")


def write_contrast_recipe(
    context: StageContext, sae: SAE, source: SAE | str | Path | None, files: Path, folder: Path
) -> None:
    """Write `contrast.json`: a recipe that lowers the features by which speech differs from non-speech.

    It allows empty texts.

    Args:
        context: of which the model, its name and the layer are used.
        sae: SAE of that layer.
        source: file, folder or Hub id of the SAE, if it was not given as an object.
        files: folder that `write_clips` filled.
        folder: folder to write into.
    """
    out = folder / "contrast.json"
    clips = LabelledSources(present=[files / "present"], absent=[files / "absent"])
    output = RecipeOutput(path=out, name="contrast", model_name=context.output.model_name)
    given = sae if source is None or isinstance(source, SAE) else source
    with context.tell() as tell:
        recipe = discover(context.model, given, context.layer, clips, out=output, report=False, progress=tell)
    recipe.model_copy(update={"allow_empty": True}).save(out)
