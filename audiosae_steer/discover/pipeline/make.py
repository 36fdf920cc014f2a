"""A recipe in one call: data, SAE, edits, gates, calibration, test, and a folder with the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...data.partitions import PARTITIONS, Partition, Partitions, PartitionSources, Source, partition_clips
from ...errors import SteeringError
from ...models.load import load_whisper
from ...models.registry import unwrap
from ...publishing.card import base_model
from ...sae.autoencoder import SAE
from ...steering.gates import check_readable
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ...training.settings import TrainSettings
from ..contrast.pooling import check
from ..sae_files import open_sae
from .estimate import Amount, Speed, check_enough, check_installed, count, downloads, estimate, measure, table
from .fit import fit_edits, fit_gates
from .settings import NAME, MakeOutput, MakeSettings
from .stage_cache import Stages
from .stage_context import StageContext
from .validate import benchmark_recipes, calibrate_recipes, deliver

TASKS = ("no-false-speech",)
"""Tasks that a recipe can be made for."""


def make_no_false_speech(
    model: Any = "tiny.en",
    *,
    out: str | Path | MakeOutput,
    absent: PartitionSources | Sequence[Source] = ("hub:esc50",),
    present: PartitionSources | Sequence[Source] = ("hub:librispeech-test-clean",),
    sae: SAE | str | Path | None = None,
    layer: int | None = None,
    settings: MakeSettings | None = None,
    say: Callable[[str], None] | None = None,
) -> Recipe:
    """Make recipes that silence a Whisper on non-speech, test them, and write a folder of them.

    Clips are partitioned into finding, calibrating and testing. On the first the edits are learned and the gates
    fitted, on the second strength and thresholds are chosen, on the third the result is measured. Finished stages are
    cached: an interrupted run resumes, and changed settings redo the stages that depend on them.

    Args:
        model: a name, folder or file of a Whisper, or an openai-whisper model, unsteered.
        out: folder for `no-false-speech.json`, `no-false-speech-ungated.json` (if one keeps the budget), the SAE,
            `README.md` and the measurements; or a `MakeOutput` with cache, provenance and progress bars, too.
        absent: clips without speech: folders, files, `.txt` lists or data sets of the Hub, for all three purposes, or
            `PartitionSources` apart.
        present: likewise clips with speech; with texts where these are known.
        sae: the SAE, or what `load_sae` takes; None trains one.
        layer: encoder layer, counted from 1; None takes the one that the SAE says it reads, or the last.
        settings: sizes and settings of the stages.
        say: called with lines on downloads, expected duration, and stages.

    Raises:
        AudioError: there is no audio, or there are too few clips, recordings, speakers or kinds of sound.
        HubError: a data set or the SAE cannot be had.
        SiteError: there is no such layer, or the SAE does not fit it.
        GateError: no features tell speech from non-speech, or the SAE's cannot be computed one by one.
        SteeringError: not an openai-whisper model; nothing keeps the budget; or `out` cannot be written.
        MissingExtraError: something that a stage needs is not installed.
    """
    output, settings, say = MakeOutput.of(out), settings or MakeSettings(), say or (lambda line: None)
    sources = _sources(absent), _sources(present)
    check_installed(training=sae is None)
    counts = count(sources[0], settings.shares, settings.most), count(sources[1], settings.shares, settings.most)
    check_enough(*counts, settings.shares, settings.least)
    for download in downloads(sources, settings.most, settings.seed):
        say(str(download))
    # clips on this machine cannot be too few, or all of one recording, once a model is loaded and hours are announced
    clips = None if _on_hub(sources) else _partitioned(sources, settings, output, say)
    base = base_model(model) if isinstance(model, (str, Path)) else None
    model, output = _loaded(model, output)
    layer, opened, training = _prepare(model, sae, layer, settings)
    if not output.folder.parent.is_dir():
        raise SteeringError(f"there is no folder {output.folder.parent} to make {output.folder.name} in; make it first")
    stages = Stages(output.cache if output.cache is not None else output.folder / ".work", say)
    amount = Amount(*counts, training, settings.learn, settings.synthetic, settings.timestamp_windows)
    _announce(amount, measure(model, layer, training), say)
    clips = clips or _partitioned(sources, settings, output, say)
    context = StageContext(model, base, layer, clips, settings, stages, output)
    learned, baseline = fit_edits(context, opened, sae, training)
    chosen = calibrate_recipes(context, fit_gates(context, learned), baseline)
    deliver(benchmark_recipes(context, *chosen, baseline), output.folder)
    return load_recipe(output.folder / f"{NAME}.json")


def _announce(amount: Amount, speed: Speed, say: Callable[[str], None]) -> None:
    """Expected duration of each stage."""
    say("about how long it will take, if nothing of it is done yet:")
    for line in table(estimate(amount, speed)):
        say(line)


def _loaded(model: Any, output: MakeOutput) -> tuple[Any, MakeOutput]:
    """The model, loaded if it is given by name, and the output with that name."""
    if isinstance(model, (str, Path)):
        output = replace(output, model_name=output.model_name or Path(model).name)
        model = load_whisper(model)
    return unwrap(model), output


def _on_hub(sources: Sequence[PartitionSources]) -> bool:
    return any(str(source).startswith("hub:") for kind in sources for part in kind for source in part)


def _sources(given: PartitionSources | Sequence[Source]) -> PartitionSources:
    return given if isinstance(given, PartitionSources) else PartitionSources(tuple(given))


def _partitioned(
    sources: tuple[PartitionSources, PartitionSources],
    settings: MakeSettings,
    output: MakeOutput,
    say: Callable[[str], None],
) -> Partitions:
    """Clips to find, to calibrate and to test, and a line on each."""
    progress = output.bars is not None
    clips = partition_clips(*sources, settings.shares, most=settings.most, seed=settings.seed, progress=progress)
    for name in PARTITIONS:
        side: Partition = getattr(clips, name)
        say(f"{name}: {len(side.absent.clips)} clips without speech, {len(side.present.clips)} with speech")
    # data sets of the Hub are counted only now
    absent, present = (tuple(len(part[side].clips) for part in clips[:3]) for side in (0, 1))
    check_enough(absent, present, settings.shares, settings.least)
    return clips


def _prepare(
    model: Any, sae: SAE | str | Path | None, layer: int | None, settings: MakeSettings
) -> tuple[int, SAE | None, TrainSettings | None]:
    """The layer; the SAE that was given, or the settings of training one."""
    if not hasattr(model, "dims"):
        raise SteeringError("a recipe is made with an openai-whisper model: load_whisper(..., library='openai')")
    dims = model.dims
    if sae is None:
        # the frames of a small model need no more than this, and training on a processor stays within an hour
        size = settings.sae_features or min(8 * dims.n_audio_state, 4096)
        return layer or dims.n_audio_layer, None, replace(settings.sae, n_features=size, seed=settings.seed)
    opened = open_sae(sae, layer or dims.n_audio_layer)
    layer = layer or opened.info.get("layer") or dims.n_audio_layer
    check(model, opened, layer)
    if opened.gate.kind != "batchtopk":
        check_readable("clip gate", [0], opened)
    return layer, opened, None
