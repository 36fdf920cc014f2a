"""Recipes of learned edits, made from clips without and with speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...data.augment import vary_absent, vary_present
from ...data.clips import ClipSet, load_clips, split_clips
from ...sae.autoencoder import SAE
from ...steering.recipes.sae_source import SAESpec
from ...steering.recipes.schema import ModelSpec, Recipe, SiteSpec
from ..recipe_output import RecipeOutput
from ..sae_files import open_sae, place_sae
from .optimise import learn_amounts
from .results import Learned
from .settings import LearnSettings
from .targets import LearningClips

HELD_OUT = 0.06
"""Share of the recordings, and of the speakers, that is kept from learning, to stop early on."""

Clips = Sequence[str | Path] | ClipSet


def learn(
    model: Any,
    sae: SAE | str | Path | None,
    layer: int,
    absent: Clips,
    present: Clips,
    *,
    out: str | Path | RecipeOutput,
    settings: LearnSettings | None = None,
    progress: bool = True,
) -> Recipe:
    """Learn constant `Add` edits that silence a Whisper on non-speech, and write them as a recipe, ungated.

    The clips are augmented first (`data.augment`): loud and soft, with noise, brief, beside noise, and synthetic noise.

    Args:
        model: a name, folder or file of a Whisper, or an openai-whisper model.
        sae: the SAE, or what `load_sae` takes; None learns a dense vector (`Push`), the control.
        layer: encoder layer, counted from 1.
        absent: non-speech: folders, files, lists or data sets, or clips in memory.
        present: likewise speech; no texts are needed.
        out: the recipe to write, .json, or that with its names and cache. The SAE is put beside it.
        settings: sizes, loss and schedule.
        progress: show progress bars.

    Raises:
        AudioError: there is no audio, a file is invalid, or there are too few recordings.
        SiteError: there is no such layer, or the SAE does not fit it.
        SteeringError: not an openai-whisper model, or `out` is no .json.
        MissingExtraError: jiwer is not installed.
    """
    settings = settings or LearnSettings()
    model, output = RecipeOutput.of(out).load_model(model)
    opened = None if sae is None else open_sae(sae, layer)
    without, having = (_loaded(clips, settings, progress) for clips in (absent, present))
    clips = learning_clips(without, having, settings.seed, settings.synthetic)
    output.path.parent.mkdir(parents=True, exist_ok=True)
    learned = learn_amounts(model, opened, layer, clips, settings, cache=output.cache_folder, progress=progress)
    placed = None if opened is None or sae is None else place_sae(opened, sae, layer, output.path.parent)
    data = {
        "without speech": without.provenance(),
        "with speech": having.provenance(),
        "clips after varying": {kind: len(samples) for kind, samples in clips._asdict().items()},
        "split": "held-out clips, to stop early on, share no recording and no speaker with the others",
    }
    command = {"command": output.command} if output.command else {}
    encoder, decoder = _encoder_sites(learned, layer, placed), _decoder_sites(learned, settings)
    recipe = Recipe(
        schema=1,
        name=output.title,
        description=_description(learned, encoder, decoder),
        model=ModelSpec.of(model, output.model_name),
        saes={} if placed is None else {"sae": placed},  # gates read it, even if no edit does
        sites=[*encoder, *decoder],
        allow_empty=True,
        provenance={**command, "learned": _recorded(settings), "data": data},
        measured={"held_out": measured(learned)},
    )
    recipe.save(output.path)
    return recipe


def learning_clips(without: ClipSet, having: ClipSet, seed: int, synthetic: int) -> LearningClips:
    """Clips to learn on, augmented, and held-out ones of other recordings and speakers, augmented apart.

    So many synthetic noises are added to learn on, and a tenth as many to stop early on.

    Raises:
        AudioError: there are too few recordings to hold any out.
    """
    shares = {"learn": 1 - HELD_OUT, "held": HELD_OUT}
    absent, present = split_clips(without, shares, seed), split_clips(having, shares, seed)
    varied = [
        clips
        for side, start, made in (("learn", seed, synthetic), ("held", seed + 1000, synthetic // 10))
        for clips in (
            vary_absent(absent[side].samples, start, synthetic=made),
            vary_present(present[side].samples, absent[side].samples, start + 100),
        )
    ]
    return LearningClips(*varied)


def measured(learned: Learned) -> dict[str, float]:
    """Figures of the last check on held-out clips."""
    found = learned.checks[-1]
    return {
        "text": round(found.text, 4),
        "words_changed": round(found.words, 4),
        "blanked": round(found.blanked, 4),
        "steps": found.step,
    }


def _loaded(clips: Clips, settings: LearnSettings, progress: bool) -> ClipSet:
    if isinstance(clips, ClipSet):
        return clips
    return load_clips(clips, most=settings.most, seed=settings.seed, progress=progress)


def _encoder_sites(learned: Learned, layer: int, placed: SAESpec | None) -> list[SiteSpec]:
    """Edits of SAE features, or a dense vector without an SAE; none where the encoder is not edited."""
    if placed is None:
        return [SiteSpec(layer=layer, edits=[_push(learned.vector)])]
    if not learned.features:
        return []
    amounts = [round(amount, 5) for amount in learned.amounts]
    edit = {"kind": "add", "features": list(learned.features), "amount": amounts}
    return [SiteSpec(layer=layer, sae="sae", edits=[edit])]


def _decoder_sites(learned: Learned, settings: LearnSettings) -> list[SiteSpec]:
    """A vector after each decoder layer, where they were learned."""
    steps: Literal["all", "first"] = "first" if settings.decoder == "first" else "all"
    return [
        SiteSpec(layer=number, side="decoder", edits=[_push(vector)], steps=steps)
        for number, vector in enumerate([] if learned.decoder is None else learned.decoder, 1)
    ]


def _push(vector: Any) -> dict[str, Any]:
    return {"kind": "push", "vector": [round(float(v), 6) for v in vector], "amount": 1.0}


def _description(learned: Learned, encoder: Sequence[SiteSpec], decoder: Sequence[SiteSpec]) -> str:
    found = []
    if encoder:
        kind = f"on {len(learned.features)} SAE features" if learned.features else "as one dense vector"
        found.append(f"{kind} of encoder layer {encoder[0].layer}")
    if decoder:
        when = " at the step that writes a text's first token" if decoder[0].steps == "first" else ""
        found.append(f"a vector after each of {len(decoder)} decoder layers{when}")
    return f"Writes no text without speech: learned constants, {' and '.join(found)}; not calibrated."


def _recorded(settings: LearnSettings) -> dict[str, Any]:
    """Settings as a recipe records them; which clips were taken is among its data."""
    listed = {"batch": list(settings.batch), "languages": list(settings.languages)}
    return {key: value for key, value in vars(settings).items() if key not in ("most", "synthetic")} | listed
