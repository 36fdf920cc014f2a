"""Search for features that tell a label: fills a `LabelSearch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import ClipCodes, pool_codes
from ..frame.control_dictionaries import control
from ..frame.nulls import benjamini_hochberg, p_value, permuted_labels
from ..frame.parts import Parts, parts_of, split_parts
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance
from ..frame.residual_clips import Residuals
from .label_examples import examples_of
from .label_findings import LabelSearch
from .label_records import ControlLabels, ControlRow, LabelRow, LabelSettings
from .label_scores import scores_of
from .label_thresholds import Numbers, Ranked, Thresholds, best_thresholds, f1_of

BLOCK = 200
"""Permutations that are scored at once."""


@dataclass(frozen=True)
class _Searched:
    """Activations of the features that are seen, the clips' labels, and the parts."""

    codes: ClipCodes
    seen: NDArray[np.int64]
    """Features with support in both parts."""
    values: Numbers
    """(clips, seen features) pooled activations."""
    labels: NDArray[np.str_]
    groups: tuple[str, ...]
    parts: Parts
    settings: LabelSettings

    @property
    def kinds(self) -> list[str]:
        """The labels that there are."""
        return [str(each) for each in np.unique(self.labels)]


@dataclass(frozen=True)
class _Tried:
    """Features as detectors of one label."""

    label: str
    chosen: Thresholds
    f1: Numbers
    """(seen features,) F1 on `report`."""
    q: Numbers
    base: float
    critical: float
    """F1 that the null leaves room for from there on."""
    kept: NDArray[np.int64]
    """Positions of features that are kept, the highest F1 first."""


def label_search(
    sae: SAE, residuals: Residuals, *, settings: LabelSettings | None = None, progress: Tell | None = None
) -> LabelSearch:
    """Search an SAE's features for those whose activation tells a label of clips.

    AudioSAE (arXiv 2602.05027) looks for features with an F1 above 0.5 at any threshold. Here thresholds are chosen on
    one part of the clips and scored on the other, against permuted labels and controls. Frames of padding are left out.

    Args:
        sae: the SAE.
        residuals: clips with labels; see `excerpts_from_csv` and `read_residuals`.
        settings: pooling, bounds, support, permutations, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: there are fewer than two labels, a label is in one group only, or no feature has support.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or LabelSettings()
    _check(residuals.labels, settings)
    excerpts = residuals.excerpts
    parts = (
        parts_of(excerpts, seed=settings.seed)
        if excerpts is not None
        else split_parts(residuals.groups, residuals.labels, seed=settings.seed)
    )
    codes = pool_codes(residuals, sae, progress=progress)
    found = search_codes(codes, residuals.labels, residuals.groups, parts=parts, settings=settings, progress=progress)
    controls = []
    for name in settings.controls:
        made = control(name, sae, residuals, seed=settings.seed)
        pooled = pool_codes(residuals, made, what=f"pooling features of {name}", progress=progress)
        searched = _searched(pooled, residuals.labels, residuals.groups, parts, settings)
        rows = tuple(_control_row(each) for each in _tried(searched, None)) if len(searched.seen) else ()
        controls.append(ControlLabels(name, made.n_features, len(searched.seen), rows))
    origin = provenance(
        sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, codes.l0)], settings=settings, seed=settings.seed,
        in_sample=parts.in_sample, warnings=found.provenance.warnings,
    )  # fmt: skip
    found = replace(found, controls=tuple(controls), provenance=origin)
    return replace(found, examples=examples_of(found, codes, residuals, parts.report))


def search_codes(
    codes: ClipCodes,
    labels: Sequence[str | None],
    groups: Sequence[str] | None = None,
    *,
    parts: Parts | None = None,
    settings: LabelSettings | None = None,
    progress: Tell | None = None,
) -> LabelSearch:
    """Search pooled codes of clips: a `LabelSearch` without controls and examples.

    Args:
        codes: pooled activations (clips, F); see `pool_codes`.
        labels: label of each clip.
        groups: group of each clip; None: each is one of its own.
        parts: rows to choose on and to report on; None: half of the groups each.
        settings: pooling, bounds, support, permutations and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: there are fewer than two labels, a label is in one group only, or no feature has support.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or LabelSettings()
    _check(labels, settings)
    groups = tuple(groups) if groups is not None else tuple(f"clip {i}" for i in range(len(labels)))
    if not len(labels) == len(groups) == len(codes.frames):
        raise SteeringError(
            f"there are codes of {len(codes.frames)} clips, {len(labels)} labels and {len(groups)} groups; give one of "
            "each for every clip"
        )
    parts = parts or split_parts(groups, labels, seed=settings.seed)
    searched = _searched(codes, labels, groups, parts, settings)
    if not len(searched.seen):
        raise SteeringError(
            f"no feature fires on {settings.min_frames} frames and in {settings.min_clips} clips of both parts, of "
            f"{len(parts.find)} and {len(parts.report)} clips; give more audio, or ask for less support"
        )
    tried = _tried(searched, progress)
    warnings = list(parts.warnings)
    needed = int(np.ceil(len(tried) / settings.level))
    if settings.permutations < needed:
        warnings.append(
            f"with {settings.permutations} permutations and {len(tried)} labels a label alone cannot reach q < "
            f"{settings.level:g}; ask for at least {needed}"
        )
    return LabelSearch(
        provenance=provenance(
            settings=settings, seed=settings.seed, in_sample=parts.in_sample, warnings=warnings
        ),
        features=codes.max.shape[1],
        seen=len(searched.seen),
        rows=tuple(_row(searched, each, naive) for each, naive in zip(tried, _naive(searched, progress), strict=True)),
        controls=(),
    )  # fmt: skip


def _check(labels: Sequence[str | None], settings: LabelSettings) -> None:
    bare = sum(label is None for label in labels)
    if bare or len(set(labels)) < 2:
        raise SteeringError(
            f"{bare} of {len(labels)} clips have no label, and there are {len(set(labels) - {None})} labels; give each "
            "clip a label, of at least two, such as the label and 'other'"
        )
    if settings.permutations < 1 or settings.naive_permutations < 1:
        raise SteeringError("the nulls take at least one permutation each; give a number above 0")


def _searched(
    codes: ClipCodes, labels: Sequence[str | None], groups: tuple[str, ...], parts: Parts, settings: LabelSettings
) -> _Searched:
    flags = [codes.seen(rows).mask(settings.min_frames, settings.min_clips) for rows in (parts.find, parts.report)]
    seen = np.flatnonzero(flags[0] & flags[1])
    values = (codes.max if settings.pool == "max" else codes.mean)[:, seen].astype(float)
    return _Searched(codes, seen, values, np.array(labels, str), groups, parts, settings)


def _tried(searched: _Searched, progress: Tell | None) -> list[_Tried]:
    """Every label's thresholds from `find`, scored on `report`."""
    settings, parts = searched.settings, searched.parts
    there = searched.labels[parts.report]
    own = [searched.groups[int(row)] for row in parts.report]
    rng = np.random.default_rng(settings.seed)
    drawn = np.stack([permuted_labels(there, own, rng) for _ in range(settings.permutations)])
    ranked = Ranked.of(searched.values[parts.find])
    found = []
    for number, label in enumerate(searched.kinds):
        if progress is not None:
            progress("searching labels", number, len(searched.kinds))
        chosen = best_thresholds(ranked, searched.labels[parts.find] == label)
        said = chosen.says(searched.values[parts.report])
        positive = there == label
        f1 = f1_of(positive.astype(float) @ said, said.sum(0), positive.sum())
        null = _highest(said, drawn == label)
        p = p_value(f1, null[:, None])
        share = positive.mean()
        base = float(2 * share / (1 + share))
        found.append(_Tried(label, chosen, f1, p, base, _critical(null, searched), np.zeros(0, np.int64)))
    if progress is not None:
        progress("searching labels", len(searched.kinds), len(searched.kinds))
    least = np.array([each.q.min() for each in found])
    factors = benjamini_hochberg(least) / least
    return [_kept(each, np.minimum(each.q * factor, 1), settings) for each, factor in zip(found, factors, strict=True)]


def _highest(said: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> Numbers:
    """Highest F1 of all features under each permutation (permutations, clips) of a label."""
    yes = said.astype(np.float32)
    total = said.sum(0)
    found = []
    for start in range(0, len(drawn), BLOCK):
        block = drawn[start : start + BLOCK]
        hits = block.astype(np.float32) @ yes  # whole numbers, exact in float32
        found.append(f1_of(hits, total, block.sum(1)[:, None]).max(1))
    return np.concatenate(found)


def _critical(null: Numbers, searched: _Searched) -> float:
    """Null F1 that a label's feature has to exceed for q below the level, if no other label has one; 1: none can."""
    level = searched.settings.level / len(searched.kinds)
    reached = int(np.ceil(level * (1 + len(null)))) - 2  # permutations that may reach it
    return float(np.sort(null)[::-1][reached]) if reached >= 0 else 1.0


def _kept(tried: _Tried, q: Numbers, settings: LabelSettings) -> _Tried:
    least = max(settings.least_f1, tried.base + settings.above_base)
    kept = np.flatnonzero((tried.f1 > least) & (q < settings.level))
    kept = kept[np.argsort(-tried.f1[kept], kind="stable")]
    return replace(tried, q=q, kept=kept)


def _row(searched: _Searched, tried: _Tried, naive: tuple[int, float]) -> LabelRow:
    settings, parts = searched.settings, searched.parts
    best = int(tried.chosen.f1.argmax())
    wanted = np.array([best, *tried.kept])
    scores = scores_of(
        searched.codes, searched.values[:, wanted], searched.seen[wanted],
        Thresholds(*(each[wanted] for each in tried.chosen)), tried.q[wanted],
        searched.labels == tried.label, [searched.groups[int(row)] for row in parts.report], (parts, settings),
    )  # fmt: skip
    own = searched.labels == tried.label
    return LabelRow(
        tried.label,
        int(own[parts.find].sum()),
        int(own[parts.report].sum()),
        finite(tried.base, 6),
        finite(max(settings.least_f1, tried.base + settings.above_base, tried.critical), 6),
        scores[0],
        tuple(scores[1:]),
        naive[0],
        naive[1],
    )


def _control_row(tried: _Tried) -> ControlRow:
    return ControlRow(tried.label, finite(tried.f1[tried.chosen.f1.argmax()], 6), len(tried.kept))


def _naive(searched: _Searched, progress: Tell | None) -> list[tuple[int, float]]:
    """Features of each label with an F1 above the bound at any threshold, chosen and scored on all clips; and with the
    labels permuted."""
    settings = searched.settings
    ranked = Ranked.of(searched.values)
    rng = np.random.default_rng(settings.seed)
    drawn = [permuted_labels(searched.labels, searched.groups, rng) for _ in range(settings.naive_permutations)]
    found = []
    for number, label in enumerate(searched.kinds):
        if progress is not None:
            progress("searching on all clips", number, len(searched.kinds))
        seen, *null = (
            int((ranked.scores(labels == label)[0].max(0) > settings.least_f1).sum())
            for labels in (searched.labels, *drawn)
        )
        found.append((seen, finite(np.mean(null), 6)))
    if progress is not None:
        progress("searching on all clips", len(searched.kinds), len(searched.kinds))
    return found
