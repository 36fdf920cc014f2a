"""The stages that find: an SAE, learned edits, edits by contrast, and gates."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...data.activations.collect import collect
from ...data.activations.shards import open_shards
from ...errors import SteeringError
from ...evaluate.benchmark.arms import sae_digest
from ...evaluate.transcription.from_residuals import encode
from ...models.registry import fingerprint
from ...sae.autoencoder import SAE
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import FrameGateSpec, GateSpec
from ...training.settings import Settings
from ...training.train import train_sae
from ..gates.fit import LabelledClips, make_clip_gate, make_frame_gate
from ..gates.settings import ClipGateSettings, FrameGateSettings
from ..learning.learn import learn, learning_clips
from ..recipe_output import RecipeOutput
from ..sae_files import open_sae
from .contrast_baseline import contrast_recipe, write_clips
from .settings import NAME, Run, vary_side

THRESHOLD_CLIPS = 64
"""Clips of each kind that the threshold of an SAE without one is calibrated on."""


def find(
    run: Run, opened: SAE | None, source: SAE | str | Path | None, training: Settings | None
) -> tuple[Path, Path | None]:
    """Recipes: the learned one, and the one by contrast if that is asked for."""
    settings, find, stages = run.settings, run.dealt.find, run.stages
    weights = fingerprint(run.model)
    files = Path()
    if training is not None or settings.contrast:
        files = stages.run("files", [find.key], partial(write_clips, find))
    if training is not None:
        sounds = stages.run("activations", [weights, run.layer, files], partial(_activations, run, files))
        made = stages.run("sae", [sounds, training], partial(_train, run, sounds, training))
        source = made / f"encoder-{run.layer}.safetensors"
        opened = open_sae(source, run.layer)
    elif opened is not None and not opened.has_own_gates:
        hangs_on = [weights, run.layer, find.key, sae_digest(opened)]
        made = stages.run("threshold", hangs_on, partial(_threshold, run, opened))
        source = made / f"encoder-{run.layer}.safetensors"
        opened = open_sae(source, run.layer)
    if opened is None:
        raise SteeringError("there is no SAE: give one, or let one be trained")
    known = [weights, run.layer, sae_digest(opened), find.key, settings.seed, run.model_name]

    learning = replace(settings.learn, synthetic=settings.synthetic)

    def learn_edits(folder: Path) -> None:
        output = RecipeOutput(path=folder / "learned.json", name=NAME, model_name=run.model_name, cache=run.encoded)
        learn(run.model, source, run.layer, *find, out=output, settings=learning, progress=run.show)

    learned = stages.run("learn", [known, learning], learn_edits) / "learned.json"
    if not settings.contrast:
        return learned, None

    def rival(folder: Path) -> None:
        with run.tell() as tell:
            contrast_recipe(run.model, opened, source, run.layer, files, folder, run.model_name, tell)

    return learned, stages.run("contrast", [known, files], rival) / "contrast.json"


def _activations(run: Run, files: Path, folder: Path) -> None:
    seed = run.settings.seed
    collect(run.model, [files], [run.layer], folder / "activations", seed=seed, progress=run.show)


def _train(run: Run, sounds: Path, training: Settings, folder: Path) -> None:
    activations = open_shards(sounds / "activations", run.layer)
    sae = train_sae(activations, training, checkpoints=folder / "checkpoints", progress=run.show)
    sae.info.update({"layer": run.layer, "side": "encoder", **({"model": run.model_name} if run.model_name else {})})
    sae.half().save(folder / f"encoder-{run.layer}.safetensors")


def _threshold(run: Run, opened: SAE, folder: Path) -> None:
    clips = [x for kind in run.dealt.find for x in kind.samples[:THRESHOLD_CLIPS]]
    rows = encode(run.model, clips, run.layer, cache=run.encoded, progress=run.show)
    opened.calibrate_threshold(row.float() for row in rows).save(folder / f"encoder-{run.layer}.safetensors")


def gated(run: Run, learned: Path) -> Path:
    """The learned recipe with gates that are fitted to find and placed on calibrate."""
    settings, find, calibration = run.settings, run.dealt.find, run.dealt.calibrate

    def gate(folder: Path) -> None:
        recipe = load_recipe(learned)
        key, sae = next(iter(recipe.load_saes().items()))
        # the clips that the amounts were learned on, which are encoded already
        clips = learning_clips(*find, settings.learn.seed, settings.synthetic)
        fit = LabelledClips(clips.absent, clips.present)
        place = vary_side(calibration, settings, settings.seed + 11)
        options: dict[str, Any] = {"cache": run.encoded, "progress": run.show}
        clip_settings = ClipGateSettings(margin=settings.margin, seed=settings.seed)
        clip = make_clip_gate(run.model, sae, run.layer, fit, place, settings=clip_settings, **options)
        update: dict[str, Any] = {"gate": GateSpec(layer=run.layer, sae=key, **_numbers(clip), pool=clip.pool)}
        if settings.frame_gate and all(site.side == "encoder" for site in recipe.sites):
            frame_settings = FrameGateSettings(margin=settings.margin, seed=settings.seed)
            plain = (LabelledClips(side.absent.samples, side.present.samples) for side in (find, calibration))
            frame = make_frame_gate(run.model, sae, run.layer, *plain, settings=frame_settings, **options)
            spec = FrameGateSpec(layer=run.layer, sae=key, **_numbers(frame), reach=frame.reach)
            update["frame_gate"] = spec
        for file in (spec.file for spec in recipe.saes.values() if spec.file is not None):
            shutil.copyfile(learned.parent / file, folder / file)
        recipe.model_copy(update=update).save(folder / "gated.json")

    hangs_on = [learned.parent, calibration.key, settings.margin, settings.frame_gate, settings.synthetic]
    return run.stages.run("gates", hangs_on, gate) / "gated.json"


def _numbers(gate: Any) -> dict[str, Any]:
    return {
        "features": list(gate.features),
        "weights": [round(w, 6) for w in gate.weights],
        "bias": round(gate.bias, 6),
        "threshold": round(gate.threshold, 6),
        "calibration": {k: round(v, 5) if isinstance(v, float) else v for k, v in gate.calibration.items()},
    }
