"""From two kinds of clips to a recipe: which SAE features tell them apart, and edits of those."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ...data import labels as examples
from ...data.labels import Groups, Sources
from ...data.splits import hold_out
from ...data.windows import Window
from ...errors import SteeringError
from ...evaluate.metrics.feature_ranking import (
    Indices,
    Method,
    auc,
    probe_scores,
    separation,
    stability,
    top_features,
    weigh,
)
from ...evaluate.metrics.logistic_regression import Flags, Matrix
from ...io.progress import Tell
from ...models.families.whisper_mel import Pad
from ...models.load import load_whisper
from ...sae.autoencoder import SAE
from ...steering.gates import Pool
from ...steering.recipes.load import load_recipe
from ...steering.recipes.schema import Recipe
from ..sae_files import open_sae, place_sae
from .pooling import Frames, check, pool_clips
from .recipe import compose, write_table
from .results import WRITES, DiscoverSettings, EditKind, Feature, Found, Target


def discover(
    model: Any,
    sae: SAE | str | Path,
    layer: int,
    present: Sources = (),
    absent: Sources = (),
    *,
    out: str | Path,
    labels: str | Path | None = None,
    audio: str | Path | None = None,
    positive: str | None = None,
    settings: DiscoverSettings | None = None,
    name: str | None = None,
    model_name: str | None = None,
    cache: str | Path | None = None,
    command: str | None = None,
    report: bool = True,
    progress: Tell | None = None,
) -> Recipe:
    """Find the SAE features that tell clips with a concept from clips without, and write a recipe that edits them.

    Beside the recipe come a copy of the SAE (unless it is on the Hub), a table of the clips with their sides of the
    split (`.csv`), and a page that shows what was found (`.html`). Interrupted, it goes on where it stopped.

    Args:
        model: a Whisper of either library, or what `load_whisper` takes.
        sae: the SAE, or what `load_sae` takes.
        layer: encoder layer that it reads, counted from 1.
        present: folders, files or `.txt` lists of clips with the concept; none where the model itself tells.
        absent: likewise of clips without.
        out: the recipe to write, .json.
        labels: a CSV with columns `file` and `label` (and `group`, if recordings are known) in place of the two.
        audio: the folder that the CSV's files are relative to; None takes the CSV's own.
        positive: the label of the clips with the concept; None wants labels 1 and 0.
        settings: what to look for, and how.
        name: the recipe's; None takes that of `out`.
        model_name: for the recipe; None takes `model`, where that is a name.
        cache: folder for pooled features; None takes one beside `out`.
        command: for the recipe's provenance.
        report: whether to write the page, which needs matplotlib.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        AudioError: there is no audio, a file is none, or the CSV cannot be used.
        SiteError: there is no such layer, or the SAE does not fit it.
        SteeringError: there is one kind of clips only, or too few; or the settings cannot be.
        MissingExtraError: scikit-learn or matplotlib is not installed.
    """
    settings = _checked(settings or DiscoverSettings())
    out = Path(out)
    if out.suffix != ".json":
        raise SteeringError(f"{out.name} does not end in .json; give the recipe's file, such as recipe.json")
    if isinstance(model, (str, Path)):
        model_name = model_name or Path(model).name
        model = load_whisper(model)
    source, sae = sae, open_sae(sae, layer)
    check(model, sae, layer)
    clips = _examples(settings, present, absent, labels, audio, positive)
    out.parent.mkdir(parents=True, exist_ok=True)
    cache = out.parent / f"{out.stem}-cache" if cache is None else Path(cache)
    found = find(model, sae, layer, clips, settings, cache=cache, progress=progress)
    placed = place_sae(sae, source, layer, out.parent)
    data = {"with": _names(present), "without": _names(absent), "labels": _names([labels] if labels else [])}
    recipe = compose(found, model, sae, placed, layer, name or out.stem, model_name, command, data)
    write_table(found, out.with_suffix(".csv"))
    if report:
        from .report import write_report

        write_report(found, model, sae, layer, out.with_suffix(".html"), recipe, progress=progress)
    recipe.save(out)
    return load_recipe(out)  # which knows its folder, where its SAE is


def find(
    model: Any,
    sae: SAE,
    layer: int,
    clips: list[examples.LabelledWindow],
    settings: DiscoverSettings,
    *,
    cache: Path | None = None,
    progress: Tell | None = None,
) -> Found:
    """What `discover` puts into a recipe.

    Raises:
        SteeringError: there is one kind of clips only, or too few, or no feature tells them apart.
    """
    pads: tuple[Pad, ...] = get_args(Pad) if settings.pad == "both" else (settings.pad,)
    plain = [example.window for example in clips]
    write = WRITES[settings.target]
    parts = [
        pool_clips(
            model, sae, layer, plain, settings.pool, pad, frames=settings.frames, write=write, cache=cache,
            progress=progress,
        )
        for pad in pads
    ]  # fmt: skip
    pooled = np.concatenate([part.features for part in parts])
    peaks = np.concatenate([part.peaks for part in parts])
    groups = [example.group for example in clips] * len(pads)
    if settings.target == "labels":
        labels = np.array([bool(example.present) for example in clips] * len(pads))
    else:
        labels = _behaviour(
            settings,
            [text for part in parts for text in part.texts],
            np.concatenate([part.no_speech for part in parts]),
        )
    held = hold_out(labels, groups, settings.held_out, settings.seed)
    ways = [pad for pad in pads for _ in plain]
    return _rank(settings, plain * len(pads), groups, ways, labels, held, pooled, peaks, progress)


def _rank(
    settings: DiscoverSettings,
    clips: list[Window],
    groups: list[str],
    pads: list[Pad],
    labels: NDArray[np.bool_],
    held: NDArray[np.bool_],
    pooled: NDArray[np.float64],
    peaks: NDArray[np.float64],
    progress: Tell | None,
) -> Found:
    fit, fit_labels = pooled[~held], labels[~held]
    fit_groups = [group for group, out in zip(groups, held, strict=True) if not out]
    held_groups = [group for group, out in zip(groups, held, strict=True) if out]
    positive, seed = settings.edit != "add", settings.seed
    weights = weigh(fit, fit_labels, settings.rank, wanted=settings.top, positive=positive, seed=seed)
    chosen = top_features(weights.values, settings.top, positive)
    if not len(chosen):
        raise SteeringError(
            f"no feature indicates the concept, so there is nothing to {settings.edit}; give more, or more different, "
            "clips, or try another ranking, layer or SAE"
        )

    def top(x: Matrix, flags: Flags) -> Indices:
        again = weigh(x, flags, settings.rank, wanted=len(chosen), positive=positive, C=weights.C, seed=seed)
        return top_features(again.values, len(chosen), positive)

    again = stability(
        fit, fit_labels, fit_groups, chosen, top, resamples=settings.resamples, seed=seed, progress=progress
    )
    scores = probe_scores(fit[:, chosen], fit_labels, pooled[held][:, chosen], seed)
    rng = np.random.default_rng(seed)
    alive = np.flatnonzero(fit.std(0) > 0)
    draws = [rng.choice(alive, min(len(chosen), len(alive)), replace=False) for _ in range(20)]
    chance = [auc(probe_scores(fit[:, some], fit_labels, pooled[held][:, some], seed), labels[held]) for some in draws]
    features = tuple(
        Feature(
            int(i),
            float(weights.values[i]),
            auc(pooled[held, i], labels[held]),
            float(pooled[labels, i].mean()),
            float(pooled[~labels, i].mean()),
            float((peaks[labels, i] > 0).mean()),
            float((peaks[~labels, i] > 0).mean()),
            float(stable),
        )
        for i, stable in zip(chosen, again, strict=True)
    )
    probe = separation(scores, labels[held], held_groups, seed)
    return Found(
        settings, tuple(clips), tuple(groups), tuple(pads), labels, held, peaks[:, chosen], features, scores, probe,
        float(np.mean(chance)),
    )  # fmt: skip


def _behaviour(settings: DiscoverSettings, texts: list[str], no_speech: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For which clips the model does what is looked for."""
    if settings.target == "no_speech_prob":
        flags = no_speech < settings.tau
        what = f"gives a no_speech_prob below {settings.tau:g}"
        cure = f"they lie between {no_speech.min():.3g} and {no_speech.max():.3g}: take a tau between those"
    else:
        pattern = r"\w" if settings.target == "words" else r"\S"
        flags = np.array([bool(re.search(pattern, text)) for text in texts])
        what = "writes words" if settings.target == "words" else "writes text"
        cure = "try the target words or no_speech_prob, or give other clips"
    if flags.all() or not flags.any():
        much = "every one" if flags.all() else "none"
        raise SteeringError(
            f"the model {what} for {much} of these {len(flags)} clips, so nothing tells two kinds; {cure}"
        )
    result: NDArray[np.bool_] = flags
    return result


def _examples(
    settings: DiscoverSettings,
    present: Sources,
    absent: Sources,
    labels: str | Path | None,
    audio: str | Path | None,
    positive: str | None,
) -> list[examples.LabelledWindow]:
    if settings.target != "labels":
        if present or labels is not None:
            raise SteeringError(
                f"the target {settings.target} is told by the model itself, on the clips of `absent` alone; leave "
                "`present` and `labels` out"
            )
        return examples.unlabelled(absent, settings.groups)
    if labels is not None:
        if present or absent:
            raise SteeringError("give either a list of labels or the folders `present` and `absent`, not both")
        return examples.from_csv(labels, audio, positive, settings.groups)
    if not present or not absent:
        missing = "`present`, clips with the concept" if not present else "`absent`, clips without the concept"
        raise SteeringError(f"there is no {missing}; give both, or a list of labels, or a target that the model tells")
    return examples.from_folders(present, absent, settings.groups)


def _checked(settings: DiscoverSettings) -> DiscoverSettings:
    known = {"rank": Method, "pool": Pool, "edit": EditKind, "target": Target, "frames": Frames, "groups": Groups}
    for field, type_ in known.items():
        value = getattr(settings, field)
        if value not in get_args(type_):
            raise SteeringError(f"{field} {value!r} is unknown; expected one of {', '.join(get_args(type_))}")
    if settings.pad not in ("both", *get_args(Pad)):
        raise SteeringError(f"pad {settings.pad!r} is unknown; expected one of both, {', '.join(get_args(Pad))}")
    for field, low in (("top", 1), ("resamples", 0)):
        if getattr(settings, field) < low:
            raise SteeringError(f"{field} is {getattr(settings, field)}; expected at least {low}")
    if settings.amount is not None and not (np.isfinite(settings.amount) and settings.amount >= 0):
        raise SteeringError(f"the amount is {settings.amount}; expected 0 or more: its sign comes from the weights")
    return settings


def _names(sources: Sources) -> list[str]:
    """Names without their folders, which differ from machine to machine."""
    return [Path(source).name for source in sources]
