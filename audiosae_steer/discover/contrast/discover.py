"""Recipes by contrast: SAE features that tell two kinds of clips apart, and edits of those."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ...data.labels import LabelledWindow, from_csv, from_folders, unlabelled
from ...data.splits import Flags, hold_out
from ...errors import MissingExtraError, SteeringError
from ...io.progress import Tell
from ...models.families.whisper_mel import Pad
from ...sae.autoencoder import SAE
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ..recipe_output import RecipeOutput
from ..sae_files import open_sae, place_sae
from .pooling import Pooled, check, pool_clips
from .ranking import rank_features
from .recipe import build_recipe, write_table
from .results import ContrastResult, LabelledRows
from .settings import DiscoverSettings, LabelledSources, PoolSettings, Target

TOKENS: dict[Target, int | None] = {"labels": None, "text": 48, "words": 48, "no_speech_prob": 1}
"""Tokens that the model has to write to tell: whether any text comes shows early."""


def discover(
    model: Any,
    sae: SAE | str | Path,
    layer: int,
    clips: LabelledSources,
    *,
    out: str | Path | RecipeOutput,
    settings: DiscoverSettings | None = None,
    report: bool = True,
    progress: Tell | None = None,
) -> Recipe:
    """Find the SAE features that tell clips with a concept from clips without, and write a recipe that edits them.

    Beside the recipe come a copy of the SAE (unless it is on the Hub), a table of the clips with their sides of the
    split (`.csv`), and a page that shows what was found (`.html`). An interrupted call resumes where it stopped.

    Args:
        model: a Whisper of either library, or what `load_whisper` takes.
        sae: the SAE, or what `load_sae` takes.
        layer: encoder layer that it reads, counted from 1.
        clips: clips with and without the concept; where the model itself tells, only `absent` ones.
        out: the recipe to write, .json, or that with its names and cache.
        settings: target, ranking, pooling, split and edit.
        report: write the page, which needs matplotlib.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        AudioError: there is no audio, a file is invalid, or the CSV cannot be used.
        SiteError: there is no such layer, or the SAE does not fit it.
        SteeringError: there is one kind of clips only, or too few; or `out` is no .json.
        MissingExtraError: scikit-learn or matplotlib is not installed.
    """
    settings, output = settings or DiscoverSettings(), RecipeOutput.of(out)
    _check_installed(report)
    examples = _examples(clips, settings)
    if settings.target == "labels":
        hold(examples, np.array([bool(example.present) for example in examples]), settings)  # too few: before any work
    model, output = output.load_model(model)
    opened = open_sae(sae, layer)
    check(model, opened, layer)
    folder = output.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    found = find(model, opened, layer, examples, settings, cache=output.cache_folder, progress=progress)
    placed = place_sae(opened, sae, layer, folder)
    recipe = build_recipe(found, model, opened, layer, placed, output, clips)
    write_table(found.rows, output.path.with_suffix(".csv"))
    if report:
        from .report import write_report

        write_report(found, model, opened, layer, output.path.with_suffix(".html"), recipe, progress=progress)
    recipe.save(output.path)
    return load_recipe(output.path)  # which knows its folder, where its SAE is


def find(
    model: Any,
    sae: SAE,
    layer: int,
    examples: Sequence[LabelledWindow],
    settings: DiscoverSettings,
    *,
    cache: Path | None = None,
    progress: Tell | None = None,
) -> ContrastResult:
    """Features that tell the two kinds of examples apart, without a recipe; see `discover`.

    Raises:
        SteeringError: there is one kind of clips only, or too few, or no feature tells them apart.
    """
    pads: tuple[Pad, ...] = get_args(Pad) if settings.pad == "both" else (settings.pad,)
    clips = [example.window for example in examples]
    parts = []
    for pad in pads:
        pooling = PoolSettings(pool=settings.pool, pad=pad, frames=settings.frames, write=TOKENS[settings.target])
        parts.append(pool_clips(model, sae, layer, clips, pooling, cache=cache, progress=progress))
    pooled = Pooled(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.peaks for part in parts]),
        tuple(text for part in parts for text in part.texts),
        np.concatenate([part.no_speech for part in parts]),
    )
    if settings.target == "labels":
        labels = np.array([bool(example.present) for example in examples] * len(pads))
    else:
        labels = _behaviour(pooled, settings)
    rows = LabelledRows(
        clips=tuple(clips * len(pads)),
        groups=tuple(example.group for example in examples) * len(pads),
        pads=tuple(pad for pad in pads for _ in clips),
        labels=labels,
        held=hold(list(examples) * len(pads), labels, settings),
    )
    return rank_features(rows, pooled, settings, progress)


def hold(examples: Sequence[LabelledWindow], labels: NDArray[np.bool_], settings: DiscoverSettings) -> Flags:
    """Mask (examples,) of those that are held out; see `hold_out`."""
    groups, files = [example.group for example in examples], [example.window.path for example in examples]
    return hold_out(labels, groups, settings.held_out, settings.seed, files=files)


def _check_installed(report: bool) -> None:
    needed = {"sklearn": "scikit-learn", **({"matplotlib": "matplotlib"} if report else {})}
    missing = [name for module, name in needed.items() if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"finding features needs {' and '.join(missing)}; run: pip install 'audiosae-steer[train]'"
        )


def _behaviour(pooled: Pooled, settings: DiscoverSettings) -> NDArray[np.bool_]:
    """Flags (rows,) of the clips for which the model does what the target names."""
    if settings.target == "no_speech_prob":
        flags = pooled.no_speech < settings.tau
        what = f"gives a no_speech_prob below {settings.tau:g}"
        cure = (
            f"they lie between {pooled.no_speech.min():.3g} and {pooled.no_speech.max():.3g}: take a tau between those"
        )
    else:
        pattern = r"\w" if settings.target == "words" else r"\S"
        flags = np.array([bool(re.search(pattern, text)) for text in pooled.texts])
        what = "writes words" if settings.target == "words" else "writes text"
        cure = "try the target words or no_speech_prob, or give other clips"
    if flags.all() or not flags.any():
        much = "every one" if flags.all() else "none"
        raise SteeringError(
            f"the model {what} for {much} of these {len(flags)} clips, so nothing tells two kinds; {cure}"
        )
    result: NDArray[np.bool_] = flags
    return result


def _examples(clips: LabelledSources, settings: DiscoverSettings) -> list[LabelledWindow]:
    if settings.target != "labels":
        if clips.present or clips.labels is not None:
            raise SteeringError(
                f"the target {settings.target} is told by the model itself, on the clips of `absent` alone; leave "
                "`present` and `labels` out"
            )
        return unlabelled(clips.absent, settings.groups)
    if clips.labels is not None:
        if clips.present or clips.absent:
            raise SteeringError("give either a list of labels or the folders `present` and `absent`, not both")
        return from_csv(clips.labels, clips.audio, clips.positive, settings.groups)
    if not clips.present or not clips.absent:
        missing = "`present`, clips with the concept" if not clips.present else "`absent`, clips without the concept"
        raise SteeringError(f"there is no {missing}; give both, or a list of labels, or a target that the model tells")
    return from_folders(clips.present, clips.absent, settings.groups)
