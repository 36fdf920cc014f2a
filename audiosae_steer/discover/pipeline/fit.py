"""Stages that fit: an SAE, learned edits, edits by contrast, and gates."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...data.activations.collect import collect
from ...data.activations.shards import open_shards
from ...errors import SteeringError
from ...evaluate.transcription.from_residuals import encode
from ...io.strict_json import plain
from ...models.registry import fingerprint
from ...sae.autoencoder import SAE
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import FrameGateSpec, GateSpec, TimestampGateSpec
from ...training.settings import TrainSettings
from ...training.train import train_sae
from ..gates.fit import make_clip_gate, make_frame_gate
from ..gates.fit_timestamps import make_timestamp_gate, mixed_windows
from ..gates.labelled_frames import LabelledClips
from ..gates.settings import ClipGateSettings, FrameGateSettings, TimestampGateSettings
from ..learning.learn import learn, learning_clips
from ..recipe_output import RecipeOutput
from ..sae_files import open_sae
from .contrast_baseline import write_clips, write_contrast_recipe
from .settings import NAME
from .stage_context import StageContext, vary_side

THRESHOLD_CLIPS = 64
"""Clips of each kind that the threshold of an SAE without one is calibrated on."""


def fit_edits(
    context: StageContext, sae: SAE | None, source: SAE | str | Path | None, training: TrainSettings | None
) -> tuple[Path, Path | None]:
    """Run the stages from the clips to edits.

    Args:
        context: the shared inputs.
        sae: the SAE; None trains one.
        source: the SAE as it was given.
        training: settings of training an SAE; None if one was given.

    Returns:
        Files of the learned recipe, and of the one by contrast if the settings ask for it.
    """
    settings, clips, stages = context.settings, context.clips.find, context.stages
    weights = fingerprint(context.model)
    files = Path()
    if training is not None or settings.contrast:
        files = stages.run("files", [clips.key], partial(write_clips, clips))
    if training is not None:
        activations = stages.run("activations", [weights, context.layer, files], partial(_activations, context, files))
        made = stages.run("sae", [activations, training], partial(_train, context, activations, training))
        source = made / f"encoder-{context.layer}.safetensors"
        sae = open_sae(source, context.layer)
    elif sae is not None and not sae.has_own_gates:
        inputs = [weights, context.layer, clips.key, sae.digest()]
        made = stages.run("threshold", inputs, partial(_threshold, context, sae))
        source = made / f"encoder-{context.layer}.safetensors"
        sae = open_sae(source, context.layer)
    if sae is None:
        raise SteeringError("there is no SAE: give one, or let one be trained")
    known = [weights, context.layer, sae.digest(), clips.key, settings.seed, context.output.model_name]
    # the clips are given, and the noises counted by the settings of making: those two of learning have no effect
    learning = {key: value for key, value in plain(settings.learn).items() if key not in ("most", "synthetic")}
    learn = partial(_learn, context, sae if source is None else source)
    learned = stages.run("learn", [known, learning, settings.synthetic], learn) / "learned.json"
    if not settings.contrast:
        return learned, None
    contrast = partial(write_contrast_recipe, context, sae, source, files)
    return learned, stages.run("contrast", [known, files], contrast) / "contrast.json"


def _activations(context: StageContext, files: Path, folder: Path) -> None:
    seed = context.settings.seed
    collect(context.model, [files], [context.layer], folder / "activations", seed=seed, progress=context.show)


def _train(context: StageContext, activations: Path, training: TrainSettings, folder: Path) -> None:
    shards, name = open_shards(activations / "activations", context.layer), context.output.model_name
    sae = train_sae(shards, training, checkpoints=folder / "checkpoints", progress=context.show)
    sae.info.update({"layer": context.layer, "side": "encoder", **({"model": name} if name else {})})
    sae.half().save(folder / f"encoder-{context.layer}.safetensors")


def _threshold(context: StageContext, sae: SAE, folder: Path) -> None:
    clips = [x for kind in context.clips.find for x in kind.samples[:THRESHOLD_CLIPS]]
    rows = encode(context.model, clips, context.layer, cache=context.encoded, progress=context.show)
    sae.calibrate_threshold(row.float() for row in rows).save(folder / f"encoder-{context.layer}.safetensors")


def _learn(context: StageContext, sae: SAE | str | Path, folder: Path) -> None:
    output = RecipeOutput(
        path=folder / "learned.json", name=NAME, model_name=context.output.model_name, cache=context.encoded
    )
    settings = replace(context.settings.learn, synthetic=context.settings.synthetic)
    learn(context.model, sae, context.layer, *context.clips.find, out=output, settings=settings, progress=context.show)


def fit_gates(context: StageContext, learned: Path) -> Path:
    """Run the stage that gives the learned recipe gates, fitted on the clips to find and placed on those to calibrate.

    Args:
        context: the shared inputs.
        learned: file of the learned recipe.

    Returns:
        File of the recipe with gates.
    """
    settings = context.settings
    inputs = [
        learned.parent, context.clips.calibrate.key, settings.margin, settings.frame_gate, settings.synthetic,
        settings.timestamp_windows,
    ]  # fmt: skip
    return context.stages.run("gates", inputs, partial(_gates, context, learned)) / "gated.json"


def _gates(context: StageContext, learned: Path, folder: Path) -> None:
    settings, find, calibration = context.settings, context.clips.find, context.clips.calibrate
    recipe = load_recipe(learned)
    key, sae = next(iter(recipe.load_saes().items()))
    # the clips that the amounts were learned on, which are encoded already
    clips = learning_clips(*find, settings.learn.seed, settings.synthetic)
    fit = LabelledClips(clips.absent, clips.present)
    place = vary_side(calibration, settings, settings.seed + 11)
    options: dict[str, Any] = {"cache": context.encoded, "progress": context.show}
    chosen: dict[str, Any] = {"margin": settings.margin, "seed": settings.seed}
    clip = make_clip_gate(context.model, sae, context.layer, fit, place, settings=ClipGateSettings(**chosen), **options)
    update: dict[str, Any] = {"gate": GateSpec.of(clip, context.layer, key)}
    sides = [LabelledClips(side.absent.samples, side.present.samples) for side in (find, calibration)]
    if settings.frame_gate and all(site.side == "encoder" for site in recipe.sites):
        frame = make_frame_gate(
            context.model, sae, context.layer, *sides, settings=FrameGateSettings(**chosen), **options
        )
        update["frame_gate"] = FrameGateSpec.of(frame, context.layer, key)
    if settings.timestamp_windows:
        counts = (settings.timestamp_windows, max(settings.timestamp_windows // 3, 1))
        windows = [mixed_windows(side, count, settings.seed) for side, count in zip(sides, counts, strict=True)]
        stamps = TimestampGateSettings(seed=settings.seed)
        timed = make_timestamp_gate(context.model, sae, context.layer, *windows, settings=stamps, **options)
        update["timestamp_gate"] = TimestampGateSpec.of(timed, context.layer, key)
    for file in (spec.file for spec in recipe.saes.values() if spec.file is not None):
        shutil.copyfile(learned.parent / file, folder / file)
    recipe.model_copy(update=update).save(folder / "gated.json")
