"""From clips to a recipe of learned edits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...data.augment import vary_absent, vary_present
from ...data.clips import ClipSet, load_clips, split_clips
from ...errors import SteeringError
from ...models.load import load_whisper
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import ModelSpec, Recipe, SiteSpec
from ..sae_files import open_sae, place_sae
from .optimise import Learned, LearnSettings, Material, learn_amounts

HELD_OUT = 0.06
"""Share of the recordings, and of the speakers, that is kept from learning, to stop early on."""
SYNTHETIC = 80
"""Synthetic noises to learn on, beside recordings."""


def learn(
    model: Any,
    sae: SAE | str | Path | None,
    layer: int,
    absent: Sequence[str | Path],
    present: Sequence[str | Path],
    *,
    out: str | Path,
    settings: LearnSettings | None = None,
    most: int | None = None,
    name: str | None = None,
    model_name: str | None = None,
    cache: str | Path | None = None,
    command: str | None = None,
    progress: bool = True,
) -> Recipe:
    """Learn constant `Add` edits that silence a Whisper where nobody speaks, and write them as a recipe, ungated.

    What is given is varied first (`vary`): loud and soft, with noise, brief, beside noise, and synthetic noise.

    Args:
        model: a name, folder or file of a Whisper, or an openai-whisper model.
        sae: the SAE, or what `load_sae` takes; None learns a dense vector (`Push`), the control.
        layer: encoder layer, counted from 1.
        absent: folders, files, lists or data sets of clips in which nobody speaks.
        present: likewise of clips in which somebody does; no texts are needed.
        out: the recipe to write, .json. The SAE is put beside it.
        settings: sizes and schedule.
        most: most clips to take of each source.
        name: the recipe's; None takes that of `out`.
        model_name: for the recipe; None takes `model`, where that is a name.
        cache: folder for the encoded clips, with which an interrupted run goes on; None takes one beside `out`.
        command: for the recipe's provenance.
        progress: show progress bars.

    Raises:
        AudioError: there is no audio, a file is none, or there are too few recordings.
        SiteError: there is no such layer, or the SAE does not fit it.
        SteeringError: not an openai-whisper model, or `out` is no .json.
        MissingExtraError: jiwer is not installed.
    """
    out, settings = Path(out), settings or LearnSettings()
    if out.suffix != ".json":
        raise SteeringError(f"{out.name} does not end in .json; give the recipe's file, such as recipe.json")
    if isinstance(model, (str, Path)):
        model_name = model_name or Path(model).name
        model = load_whisper(model)
    opened = None if sae is None else open_sae(sae, layer)
    without, having = (load_clips(s, most=most, seed=settings.seed, progress=progress) for s in (absent, present))
    return learn_gathered(
        model, opened, sae, layer, without, having, out=out, settings=settings, name=name, model_name=model_name,
        cache=cache, command=command, progress=progress,
    )  # fmt: skip


def learn_gathered(
    model: Any,
    opened: SAE | None,
    source: SAE | str | Path | None,
    layer: int,
    without: ClipSet,
    having: ClipSet,
    *,
    out: Path,
    settings: LearnSettings,
    synthetic: int = SYNTHETIC,
    name: str | None = None,
    model_name: str | None = None,
    cache: str | Path | None = None,
    command: str | None = None,
    progress: bool = True,
) -> Recipe:
    """What `learn` does, of clips that are in memory: `without` speech and `having` it; `opened` is the SAE `source`.

    Raises:
        AudioError: there are too few recordings.
        SiteError: there is no such layer, or the SAE does not fit it.
        SteeringError: not an openai-whisper model.
        MissingExtraError: jiwer is not installed.
    """
    material = material_of(without, having, settings.seed, synthetic)
    out.parent.mkdir(parents=True, exist_ok=True)
    cache = out.parent / f"{out.stem}-cache" if cache is None else Path(cache)
    learned = learn_amounts(model, opened, layer, material, settings, cache=cache, progress=progress)
    saes, sites = {}, []
    if opened is None or source is None:
        sites = [SiteSpec(layer=layer, edits=[_push(learned.vector)])]
    else:  # which gates read, if edits do not
        saes = {"sae": place_sae(opened, source, layer, out.parent)}
        if learned.features:
            amounts = [round(amount, 5) for amount in learned.amounts]
            edit = {"kind": "add", "features": list(learned.features), "amount": amounts}
            sites = [SiteSpec(layer=layer, sae="sae", edits=[edit])]
    encoder = len(sites)
    steps: Literal["all", "first"] = "first" if settings.decoder == "first" else "all"
    for number, vector in enumerate([] if learned.decoder is None else learned.decoder, 1):
        sites.append(SiteSpec(layer=number, side="decoder", edits=[_push(vector)], steps=steps))
    recipe = Recipe(
        schema=1,
        name=name or out.stem,
        description="Writes no text where nobody speaks: learned constants, "
        + " and ".join(_described_sites(learned, layer, encoder, len(sites) - encoder, steps))
        + "; not calibrated.",
        model=ModelSpec.of(model, model_name),
        saes=saes,
        sites=sites,
        allow_empty=True,
        provenance={
            **({"command": command} if command else {}),
            "learned": settings._asdict() | {"batch": list(settings.batch), "languages": list(settings.languages)},
            "data": {
                "without speech": without.provenance(),
                "with speech": having.provenance(),
                "clips after varying": {key: len(clips) for key, clips in material._asdict().items()},
                "split": "held-out clips, to stop early on, share no recording and no speaker with the others",
            },
        },
        measured={"held_out": measured(learned)},
    )
    recipe.save(out)
    return recipe


def material_of(without: ClipSet, having: ClipSet, seed: int, synthetic: int = SYNTHETIC) -> Material:
    """Clips to learn on, varied, and held-out ones of other recordings and speakers, varied apart.

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
    return Material(*varied)


def _described_sites(learned: Learned, layer: int, encoder: int, decoder: int, steps: str) -> list[str]:
    found = []
    if encoder:
        kind = f"on {len(learned.features)} SAE features" if learned.features else "as one dense vector"
        found.append(f"{kind} of encoder layer {layer}")
    if decoder:
        when = " at the step that writes a text's first token" if steps == "first" else ""
        found.append(f"a vector after each of {decoder} decoder layers{when}")
    return found


def _push(vector: Any) -> dict[str, Any]:
    return {"kind": "push", "vector": [round(float(v), 6) for v in vector], "amount": 1.0}


def measured(learned: Learned) -> dict[str, float]:
    """The last look at the held-out clips."""
    found = learned.checks[-1]
    return {
        "text": round(found.text, 4),
        "words_changed": round(found.words, 4),
        "blanked": round(found.blanked, 4),
        "steps": found.step,
    }
