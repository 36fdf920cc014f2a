"""Maps of frame properties from an SAE's features: fills a `PropertyMap`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.audio import SAMPLE_RATE
from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Dictionary, fires
from ..frame.control_dictionaries import CONTROLS, Dense, control
from ..frame.intervals import few_groups
from ..frame.parts import Parts, parts_of, split_parts
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance
from ..frame.residual_clips import Residuals, check_fits
from .frame_properties import FrameProperties, property_labels
from .map_scores import Held, MapJudge
from .mapped_property import MappedProperty
from .named_engines import pitch_engine
from .pitch_engines import PitchEngine
from .property_bins import Bins, Kinds, bins_of
from .property_fits import Fitted, Matrix, fit_property
from .property_maps import PropertyMap
from .property_records import MapScore, PropertySettings


class _Labelled(NamedTuple):
    """Classes and values of all frames by one property's bins."""

    bins: Bins
    kinds: list[Kinds]
    """Of each clip, (frames,)."""
    values: list[Matrix]


class _Codes(NamedTuple):
    """Activations of one dictionary on the frames to fit on."""

    seen: NDArray[np.int64]
    f: Matrix
    """(frames, seen features)."""
    l0: float
    norm: float
    """Mean norm of a frame's activations of seen features."""


def property_map(
    sae: Dictionary,
    residuals: Residuals,
    labels: Sequence[FrameProperties] | None = None,
    *,
    settings: PropertySettings | None = None,
    progress: Tell | None = None,
) -> PropertyMap:
    """Map features to pitch, loudness and spectral centroid of frames, by softmax(W·f + b) and ridge regression.

    arXiv 2510.23802 does so for codecs' latents. Here bins, penalties and maps come from one part of the groups and
    every score from the other, beside the commonest class, the class of the frame before, permuted clips, the dense
    residual and a random dictionary.

    Args:
        sae: the SAE, or another dictionary of features.
        residuals: clips at its site; see `read_residuals`.
        labels: properties of each clip's frames, such as `property_labels` gives; None measures the clips' files.
        settings: properties, engine, bins, penalties, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: there is no sound to measure, labels and frames differ in number, nothing has support, or a
            dictionary that is no SAE was given with controls.
        MissingExtraError: scikit-learn, or the pitch engine's package, is not installed.
    """
    settings = _checked(settings or PropertySettings(), sae)
    check_fits(sae, residuals)
    parts = _parts(residuals, settings)
    labels = measured_labels(residuals, settings.engine, progress=progress) if labels is None else labels
    _check_labels(labels, residuals)
    labelled = [_labelled(name, labels, parts, settings) for name in settings.properties]
    rows = _rows_to_fit(labelled, parts, settings)
    judges = [MapJudge(_held(each, residuals, parts), settings) for each in labelled]
    codes = _codes(sae, residuals, rows, settings, progress)
    fits = [_fit(codes, each, rows, residuals, settings) for each in labelled]
    told = _told(sae, codes.seen, residuals, parts, fits)
    found = [judge.score("SAE", *each, fit, None) for judge, each, fit in zip(judges, told, fits, strict=True)]
    scores: list[list[MapScore]] = [[each[0]] for each in found]
    for name, made in _controls(sae, residuals.pick(parts.find), settings):
        other = _codes(made, residuals, rows, settings, progress, name)
        own = [_fit(other, each, rows, residuals, settings) for each in labelled]
        by_it = zip(judges, _told(made, other.seen, residuals, parts, own), own, found, scores, strict=True)
        for judge, each, fit, (_, best), kept in by_it:
            kept.append(judge.score(name, *each, fit, best)[0])
    mapped = [_mapped(*each, parts) for each in zip(labelled, judges, fits, scores, strict=True)]
    return PropertyMap(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, codes.l0)], settings=settings, seed=settings.seed,
            in_sample=parts.in_sample,
            warnings=(*parts.warnings, *_cautions(mapped, residuals, parts)),
        ),
        n_features=sae.n_features,
        features=tuple(int(each) for each in codes.seen),
        typical_norm=finite(codes.norm, 7),
        frames=(len(rows), int(residuals.frames[parts.report].sum())),
        groups=_groups(residuals, parts),
        properties=tuple(mapped),
    )  # fmt: skip


def _controls(sae: Dictionary, find: Residuals, settings: PropertySettings) -> Iterator[tuple[str, Dictionary]]:
    """Controls by name, each made when it is its turn; of an SAE alone."""
    if isinstance(sae, SAE):
        for name in settings.controls:
            yield name, control(name, sae, find, seed=settings.seed + 1)


def measured_labels(
    residuals: Residuals, engine: str | PitchEngine = "swift", *, progress: Tell | None = None
) -> list[FrameProperties]:
    """Properties of the frames of clips whose files are known.

    Raises:
        SteeringError: they are not, or frames have no time.
        AudioError: a file cannot be read.
    """
    if residuals.excerpts is None or residuals.rate is None:
        raise SteeringError(
            "properties are measured from the sound of clips whose frames have a time, and these have none; pass "
            "labels, one FrameProperties for each clip"
        )
    engine = pitch_engine(engine)
    found = []
    for number, item in enumerate(residuals.excerpts.items):
        if progress is not None:
            progress("measuring the sound", number, len(residuals))
        samples = item.read(SAMPLE_RATE)
        found.append(
            property_labels(samples, SAMPLE_RATE, residuals.rate, int(residuals.frames[number]), engine=engine)
        )
    if progress is not None:
        progress("measuring the sound", len(residuals), len(residuals))
    return found


def _parts(residuals: Residuals, settings: PropertySettings) -> Parts:
    """Parts by group alone: the clips' own labels have no part in it."""
    if residuals.excerpts is None:
        return split_parts(residuals.groups, None, share=settings.share, seed=settings.seed)
    items = tuple(item._replace(label=None) for item in residuals.excerpts.items)
    return parts_of(replace(residuals.excerpts, items=items), share=settings.share, seed=settings.seed)


def _checked(settings: PropertySettings, sae: Dictionary) -> PropertySettings:
    if settings.controls and not isinstance(sae, SAE):
        raise SteeringError(f"controls are made of an SAE, not of a {type(sae).__name__}; give controls=() in settings")
    unknown = [name for name in settings.controls if name not in CONTROLS]
    if unknown:
        raise SteeringError(f"control {unknown[0]!r} is unknown; expected one of {', '.join(CONTROLS)}")
    return settings


def _groups(residuals: Residuals, parts: Parts) -> tuple[int, int]:
    """Groups of either part."""
    find, report = ({residuals.groups[i] for i in rows} for rows in (parts.find, parts.report))
    return len(find), len(report)


def _check_labels(labels: Sequence[FrameProperties], residuals: Residuals) -> None:
    lengths = [len(each) for each in labels]
    if lengths != residuals.frames.tolist():
        at = next((i for i, (a, b) in enumerate(zip(lengths, residuals.frames, strict=False)) if a != b), len(lengths))
        raise SteeringError(
            f"{len(labels)} clips with labels and {len(residuals)} with frames differ, clip {at} first; give a label "
            "for each frame of each clip"
        )


def _labelled(name: str, labels: Sequence[FrameProperties], parts: Parts, settings: PropertySettings) -> _Labelled:
    bins = bins_of(name, [labels[i] for i in parts.find], settings)
    kinds = [bins.kinds(each) for each in labels]
    counts = np.bincount(np.concatenate([kinds[i] for i in parts.find]) + 1, minlength=bins.classes + 1)[1:]
    if (counts >= settings.min_frames).sum() < 2:
        raise SteeringError(
            f"fewer than two classes of {name} have {settings.min_frames} frames in the clips to fit on; give more "
            "clips, leave that property out, or ask for less support"
        )
    return _Labelled(bins, kinds, [bins.values(each) for each in labels])


def _rows_to_fit(labelled: list[_Labelled], parts: Parts, settings: PropertySettings) -> NDArray[np.int64]:
    """Clip and frame (rows, 2) of the frames to fit on, in order: all that have any class, or an even draw of them."""
    found = []
    for clip in sorted(int(each) for each in parts.find):
        known = np.flatnonzero(np.any([each.kinds[clip] >= 0 for each in labelled], axis=0))
        found.append(np.stack([np.full(len(known), clip), known], 1))
    rows = np.concatenate(found)
    if len(rows) > settings.most_frames:
        drawn = np.random.default_rng(settings.seed).choice(len(rows), settings.most_frames, replace=False)
        rows = rows[np.sort(drawn)]
    return rows


def _codes(
    dictionary: Dictionary, residuals: Residuals, rows: NDArray[np.int64], settings: PropertySettings,
    progress: Tell | None, name: str = "the SAE",
) -> _Codes:  # fmt: skip
    """Activations of seen features on the frames to fit on. SteeringError: none is seen."""
    clips = np.unique(rows[:, 0])
    fired = np.zeros((2, dictionary.n_features), np.int64)
    kept, frames = [], 0
    for number, clip in enumerate(clips):
        if progress is not None:
            progress(f"encoding by {name}", number, len(clips))
        with torch.no_grad():
            f = dictionary.encode(residuals.read(int(clip))).float()
        count = fires(dictionary, f).sum(0).cpu().numpy()
        fired += np.stack([count, count > 0])
        frames += len(f)
        kept.append(f[torch.from_numpy(rows[rows[:, 0] == clip, 1])].cpu().numpy())
    if progress is not None:
        progress(f"encoding by {name}", len(clips), len(clips))
    flags = (fired[0] >= settings.min_frames) & (fired[1] >= settings.min_clips)
    if isinstance(dictionary, Dense):
        flags[:] = True
    if not flags.any():
        raise SteeringError(
            f"no feature of {name} fires on {settings.min_frames} frames and in {settings.min_clips} clips of the "
            f"{len(clips)} clips to fit on; give more audio, or ask for less support"
        )
    own = np.concatenate(kept)[:, flags].astype(np.float64)
    norm = float(np.linalg.norm(own, axis=1).mean())
    return _Codes(np.flatnonzero(flags), own, float(fired[0].sum() / frames), norm)


def _fit(
    codes: _Codes, labelled: _Labelled, rows: NDArray[np.int64], residuals: Residuals, settings: PropertySettings
) -> Fitted:
    kinds = np.array([labelled.kinds[clip][frame] for clip, frame in rows])
    values = np.array([labelled.values[clip][frame] for clip, frame in rows])
    own = kinds >= 0
    groups = [residuals.groups[clip] for clip in rows[own, 0]]
    return fit_property(codes.f[own], kinds[own], values[own], groups, settings.penalties, settings.seed)


def _told(
    dictionary: Dictionary, seen: NDArray[np.int64], residuals: Residuals, parts: Parts, fits: list[Fitted]
) -> list[tuple[Kinds, Matrix]]:
    """Class and value (frames,) that each map gives to the frames of the clips to report on."""
    found: list[tuple[list[Kinds], list[Matrix]]] = [([], []) for _ in fits]
    for clip in parts.report:
        with torch.no_grad():
            f = dictionary.encode(residuals.read(int(clip)))[:, torch.from_numpy(seen)].double().cpu().numpy()
        for (kinds, values), fit in zip(found, fits, strict=True):
            kinds.append(fit.told(f))
            values.append(fit.value(f))
    return [(np.concatenate(kinds), np.concatenate(values)) for kinds, values in found]


def _held(labelled: _Labelled, residuals: Residuals, parts: Parts) -> Held:
    kinds, values = ([each[i] for i in parts.report] for each in (labelled.kinds, labelled.values))
    starts = np.cumsum([0, *map(len, kinds)])
    groups = tuple(residuals.groups[i] for i in parts.report)
    return Held(np.concatenate(kinds), np.concatenate(values), starts, groups, residuals.rate)


def _mapped(labelled: _Labelled, judge: MapJudge, fit: Fitted, scores: list[MapScore], parts: Parts) -> MappedProperty:
    held = judge.held.kinds[judge.held.known]
    if not len(held):
        raise SteeringError(f"no frame to report on has a class of {labelled.bins.name}; give clips that have one")
    known = fit.classes
    fitted = np.concatenate([labelled.kinds[i] for i in parts.find])
    counts = np.bincount(fitted + 1, minlength=labelled.bins.classes + 1)[1:]
    common = max(known, key=lambda kind: (counts[kind], -kind))
    return MappedProperty(
        bins=labelled.bins,
        missing=finite(1 - len(held) / len(judge.held.kinds), 7),
        unseen=finite(float((~np.isin(held, known)).mean()), 7),
        majority=finite(float((held == common).mean()), 7),
        persistence=finite(judge.held.persistence(), 7),
        map=fit.kept(),
        scores=tuple(scores),
    )


def _cautions(mapped: Sequence[MappedProperty], residuals: Residuals, parts: Parts) -> list[str]:
    found = [
        f"{each.unseen:.0%} of the frames to report on have a class of {each.name} that the fit never saw, and count "
        "as wrong"
        for each in mapped if each.unseen >= 0.05
    ]  # fmt: skip
    return [*found, *few_groups(_groups(residuals, parts)[1], "the scores are")]
