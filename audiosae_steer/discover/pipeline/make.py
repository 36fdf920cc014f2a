"""From nothing to a recipe in one call: data, SAE, edits, gates, calibration, test, and a folder with the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...data.partitions import PARTITIONS, Partition, PartitionSources, Source, partition_clips
from ...errors import SteeringError
from ...models.load import load_whisper
from ...models.registry import unwrap
from ...publishing.card import base_model
from ...sae.autoencoder import SAE
from ...steering.gates import check_readable
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ...training.settings import Settings
from ..contrast.pooling import check
from ..sae_files import open_sae
from .estimate import Amount, check_installed, count, downloads, estimate, measure, table
from .fit import find, gated
from .settings import NAME, Bars, MakeSettings, Run
from .stage_cache import Stages
from .validate import calibrated, deliver, prove

TASKS = ("no-false-speech",)


def make_no_false_speech(
    model: Any = "tiny.en",
    *,
    out: str | Path,
    absent: PartitionSources | Sequence[Source] = ("hub:esc50",),
    present: PartitionSources | Sequence[Source] = ("hub:librispeech-test-clean",),
    sae: SAE | str | Path | None = None,
    layer: int | None = None,
    settings: MakeSettings | None = None,
    model_name: str | None = None,
    cache: str | Path | None = None,
    command: str | None = None,
    say: Callable[[str], None] | None = None,
    bars: Bars | None = None,
) -> Recipe:
    """Make recipes that keep a Whisper from writing text where nobody speaks, test them, and write a folder of them.

    Clips are dealt to finding, calibrating and testing. On the first the edits are learned and the gates fitted, on the
    second strength and thresholds are chosen, on the third the result is measured. Every stage is done once: an
    interrupted run goes on with the one it was in, and changed settings redo the stages that hang on them.

    Args:
        model: a name, folder or file of a Whisper, or an openai-whisper model that nothing steers.
        out: folder for `no-false-speech.json`, `no-false-speech-ungated.json` (if one keeps the budget), the SAE,
            `README.md` and what was measured.
        absent: clips in which nobody speaks: folders, files, `.txt` lists or data sets of the Hub, for all three
            purposes, or `PartitionSources` apart.
        present: likewise clips in which somebody does; with texts where these are known.
        sae: the SAE, or what `load_sae` takes; None trains one.
        layer: encoder layer, counted from 1; None takes the one that the SAE says it reads, or the last.
        settings: how.
        model_name: for the recipe; None takes `model`, where that is a name.
        cache: folder for the stages' results and for encoded clips; None takes `.work` in `out`.
        command: for the recipe's provenance.
        say: called with lines on what will be downloaded, how long it will take, and what is being done.
        bars: gives progress bars, as a context manager; None shows none.

    Raises:
        AudioError: there is no audio, or there are too few recordings, speakers or kinds of sound.
        HubError: a data set or the SAE cannot be had.
        SiteError: there is no such layer, or the SAE does not fit it.
        GateError: no features tell speech from what is none, or the SAE's cannot be computed one by one.
        SteeringError: not an openai-whisper model; nothing keeps the budget; or `out` cannot be written.
        MissingExtraError: something that a stage needs is not installed.
    """
    out, settings, say = Path(out), settings or MakeSettings(), say or (lambda line: None)
    given = PartitionSources(tuple(absent)) if not isinstance(absent, PartitionSources) else absent
    spoken = PartitionSources(tuple(present)) if not isinstance(present, PartitionSources) else present
    check_installed(training=sae is None)
    for download in downloads((given, spoken), settings.most, settings.seed):
        say(str(download))
    base = base_model(model) if isinstance(model, (str, Path)) else None
    if isinstance(model, (str, Path)):
        model_name = model_name or Path(model).name
        model = load_whisper(model)
    model = unwrap(model)
    layer, opened, training = _prepare(model, sae, layer, settings)
    if not out.parent.is_dir():
        raise SteeringError(f"there is no folder {out.parent} to make {out.name} in; make it first")
    stages = Stages(Path(cache) if cache is not None else out / ".work", say)
    clips = [count(kind, settings.shares, settings.most) for kind in (given, spoken)]
    amount = Amount(clips[0], clips[1], training, settings.learn, settings.synthetic)
    say("about how long it will take, if nothing of it is done yet:")
    for line in table(estimate(amount, measure(model, layer, training))):
        say(line)
    dealt = partition_clips(
        given, spoken, settings.shares, most=settings.most, seed=settings.seed, progress=bars is not None
    )
    for name in PARTITIONS:
        side: Partition = getattr(dealt, name)
        say(f"{name}: {len(side.absent.clips)} clips without speech, {len(side.present.clips)} with speech")
    run = Run(model, model_name, base, layer, dealt, settings, stages, stages.folder / "encoded", command, bars)
    learned, rival = find(run, opened, sae, training)
    result = prove(run, *calibrated(run, gated(run, learned), rival), rival)
    deliver(result, out)
    return load_recipe(out / f"{NAME}.json")


def _prepare(
    model: Any, sae: SAE | str | Path | None, layer: int | None, settings: MakeSettings
) -> tuple[int, SAE | None, Settings | None]:
    """The layer; the SAE that was given, or how one is trained."""
    if not hasattr(model, "dims"):
        raise SteeringError("a recipe is made with an openai-whisper model: load_whisper(..., library='openai')")
    dims = model.dims
    if sae is None:
        # the frames of a small model need no more than this, and training on a processor stays within an hour
        size = settings.sae_features or min(8 * dims.n_audio_state, 4096)
        return layer or dims.n_audio_layer, None, settings.sae._replace(n_features=size, seed=settings.seed)
    opened = open_sae(sae, layer or dims.n_audio_layer)
    layer = layer or opened.info.get("layer") or dims.n_audio_layer
    check(model, opened, layer)
    if opened.gate.kind != "batchtopk":
        check_readable("clip gate", [0], opened)
    return layer, opened, None
