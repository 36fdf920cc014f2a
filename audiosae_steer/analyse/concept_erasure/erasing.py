"""Removal of the features that tell a concept, the best first: fills an `Erasure`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Dictionary, pool_codes
from ..frame.control_dictionaries import Dense, control
from ..frame.intervals import few_groups
from ..frame.nulls import p_value
from ..frame.parts import Parts
from ..frame.provenance import Provenance, SAEFacts, SiteFacts, provenance
from ..frame.residual_clips import Residuals
from ..probes.class_probes import (
    Judge,
    Matrix,
    Scaling,
    Split,
    areas,
    choose_penalty,
    correlations,
    fisher_scores,
    grid,
    logits,
    middle,
)
from ..probes.nonlinear_probes import nonlinear_scores
from ..probes.probing import labelled_parts, plain
from .concept_erasure import Erasure
from .concept_labels import CLOSED, Roles, check_settings, roles_of
from .erasure_records import (
    ControlErasure,
    ErasurePoint,
    ErasureSettings,
    InputScore,
    RandomRemoval,
    Scored,
    erased_from,
)  # fmt: skip
from .error_term import ERROR, residual_means

Columns = NDArray[np.int64]
FINE = 0.02
"""Precision, as a share of k, to which the place where a concept goes is narrowed down."""


class _Task(NamedTuple):
    """Clips of both parts by which one concept is told, and its judge."""

    find: Columns
    """Rows to fit on."""
    report: Columns
    split: Split
    judge: Judge


@dataclass(frozen=True)
class _Study:
    """Everything that is the same for the SAE and its controls."""

    parts: Parts
    roles: Roles
    target: _Task
    others: tuple[_Task, ...]
    """One for each other concept; none in closed mode, where one fit tells all."""
    settings: ErasureSettings

    @property
    def closed(self) -> bool:
        return self.settings.mode == "closed"

    @property
    def bound(self) -> float:
        return (0.0 if self.closed else 0.5) + self.settings.margin


def erasure(
    sae: SAE,
    residuals: Residuals,
    concept: str,
    *,
    settings: ErasureSettings | None = None,
    progress: Tell | None = None,
) -> Erasure:
    """Remove the features that tell a concept best, one after another, until a probe no longer tells it.

    AudioSAE (arXiv 2602.05027) does so for vowels, which `mode="closed"` repeats; here, by default, the concept is told
    from a background without any concept.

    Args:
        sae: the SAE.
        residuals: labelled clips at its site; see `read_residuals`.
        concept: the label to erase.
        settings: other concepts, background, margin, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: labels or groups cannot bear it, or no feature has support.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or ErasureSettings()
    check_settings(settings)
    roles = roles_of(residuals.labels, concept, settings)
    parts = labelled_parts(residuals, settings.share, settings.seed)
    study = _study(residuals, parts, roles, settings)
    pooled = pool_codes(residuals, sae, progress=progress)
    values, seen = _values(pooled, sae, parts, settings)
    points, order = _removed(values, study, "the SAE", progress)
    erased = erased_from(points, study.bound)
    random = _random_orders(values, study, points, progress)
    ranking = tuple(int(each) for each in seen[order])
    inputs = () if study.closed else _inputs(sae, residuals, study, ranking[: erased or 0], progress)
    nonlinear = () if study.closed or erased is None else _nonlinear(values[:, np.sort(order[erased:])], study)
    return Erasure(
        provenance=_origin(residuals, SAEFacts.of(sae, pooled.l0), study, points, inputs),
        concept=concept,
        others=roles.others,
        background=roles.background,
        mode=settings.mode,
        clips=(len(study.target.find), len(study.target.report)),
        groups=(len(set(study.target.split.groups)), len(set(study.target.split.held_groups))),
        features=sae.n_features,
        seen=len(seen),
        chance=0.0 if study.closed else 0.5,
        bound=plain(study.bound),
        points=points,
        erased_k=erased,
        selectivity=_selectivity(points, erased, 0.0 if study.closed else 0.5),
        random_order=random,
        random_erased_k=_random_erased(random, study.bound),
        controls=tuple(_control(name, sae, residuals, study, progress) for name in settings.controls),
        nonlinear=nonlinear,
        inputs=inputs,
        ranking=ranking,
    )  # fmt: skip


def _study(residuals: Residuals, parts: Parts, roles: Roles, settings: ErasureSettings) -> _Study:
    labels = np.array([label or "" for label in residuals.labels])

    def task(kinds: Columns) -> _Task:
        """Clips whose kind is 0 or above, by it."""
        find, report = (rows[kinds[rows] >= 0] for rows in (parts.find, parts.report))
        groups = [tuple(residuals.groups[i] for i in rows) for rows in (find, report)]
        split = Split(kinds[find], groups[0], kinds[report], groups[1], len(set(kinds[find].tolist())))
        return _Task(find, report, split, Judge(split, settings.draws, settings.permutations, settings.seed))

    if settings.mode == "closed":
        names = (roles.concept, *roles.others)
        kinds = np.full(len(labels), -1)
        for number, name in enumerate(names):
            kinds[labels == name] = number
        return _Study(parts, roles, task(kinds), (), settings)
    behind = np.isin(labels, roles.background)
    tasks = [task(np.where(labels == name, 1, np.where(behind, 0, -1))) for name in (roles.concept, *roles.others)]
    return _Study(parts, roles, tasks[0], tuple(tasks[1:]), settings)


def _values(pooled: Any, dictionary: Dictionary, parts: Parts, settings: ErasureSettings) -> tuple[Matrix, Columns]:
    """Standardised activations (clips, seen features), and the features' numbers."""
    flags = pooled.seen(parts.find).mask(settings.min_frames, settings.min_clips)
    if isinstance(dictionary, Dense):
        flags = np.ones_like(flags)
    if not flags.any():
        raise SteeringError(
            f"no feature fires on {settings.min_frames} frames and in {settings.min_clips} clips of the "
            f"{len(parts.find)} clips to rank on; give more audio, or ask for less support"
        )
    values: Matrix = getattr(pooled, settings.pool)[:, flags].astype(np.float64)
    return Scaling.of(values[parts.find]).apply(values), np.flatnonzero(flags)


def _removed(
    values: Matrix, study: _Study, name: str, progress: Tell | None
) -> tuple[tuple[ErasurePoint, ...], Columns]:
    """Scores by number of removed features, more of them where the concept goes; and the order of removal."""
    task, settings = study.target, study.settings
    kinds = (task.split.kinds == 0).astype(np.int64) if study.closed else task.split.kinds
    order = np.argsort(-fisher_scores(values[task.find], kinds), kind="stable")
    n = len(order)
    found: dict[int, ErasurePoint] = {}
    ks = [0, *grid(n, settings.ks)]
    fixed = [choose_penalty(values[each.find], each.split, sorted(settings.penalties), settings.seed, ranked=True)
             for each in study.others]  # fmt: skip

    def at(k: int) -> None:
        if progress is not None:
            progress(f"removing features of {name}", min(len(found), len(ks)), len(ks))
        left = values[:, order[k:]]
        C = choose_penalty(
            left[task.find], task.split, sorted(settings.penalties), settings.seed, ranked=not study.closed
        )
        scores = logits(left[task.find], task.split.kinds, left[task.report], C, settings.seed)
        seen, others = _scored(scores, study)
        for other, penalty in zip(study.others, fixed, strict=True):
            line = logits(left[other.find], other.split.kinds, left[other.report], penalty, settings.seed)[:, 1]
            others = (*others, plain(areas(line, other.split.held == 1, other.judge.once)[0]))
        found[k] = ErasurePoint(k, seen, others, C)

    for k in ks:
        at(k)
    while True:
        points = tuple(found[k] for k in sorted(found))
        gone = erased_from(points, study.bound)
        before = max((point.k for point in points if gone is not None and point.k < gone), default=None)
        if gone is None or before is None or gone - before <= max(1, FINE * gone):
            break
        at((gone + before) // 2)
    if progress is not None:
        progress(f"removing features of {name}", len(ks), len(ks))
    return points, order


def _scored(scores: Matrix, study: _Study) -> tuple[Scored, tuple[float, ...]]:
    """Score of the target, and in closed mode those of the other concepts by the same fit."""
    judge = study.target.judge
    if not study.closed:
        return _of(*judge.area(scores[:, 1])), ()
    guessed, held = scores.argmax(1), study.target.split.held

    def told(kind: int, truth: Columns, weights: Matrix) -> Matrix:
        return correlations(guessed == kind, truth == kind, weights)

    drawn = None if judge.weights is None else told(0, held, judge.weights)
    null = np.array([told(0, labels, judge.once)[0] for labels in judge.permuted])
    others = tuple(plain(told(kind, held, judge.once)[0]) for kind in range(1, study.target.split.classes))
    return _of(float(told(0, held, judge.once)[0]), drawn, null), others


def _of(seen: float, drawn: Matrix | None, null: Matrix) -> Scored:
    return Scored(plain(seen), middle(drawn), middle(null), plain(float(p_value(seen, null))))


def _random_orders(
    values: Matrix, study: _Study, points: Sequence[ErasurePoint], progress: Tell | None
) -> tuple[RandomRemoval, ...]:
    task, settings = study.target, study.settings
    rng = np.random.default_rng(settings.seed)
    orders = [rng.permutation(values.shape[1]) for _ in range(settings.random_orders)]
    found = []
    for number, point in enumerate(points if orders else ()):
        if progress is not None:
            progress("removing features in random order", number, len(points))
        scores = []
        for order in orders:
            left = values[:, order[point.k :]]
            line = logits(left[task.find], task.split.kinds, left[task.report], point.C, settings.seed)
            if study.closed:
                told = correlations(line.argmax(1) == 0, task.split.held == 0, task.judge.once)
            else:
                told = areas(line[:, 1], task.split.held == 1, task.judge.once)
            scores.append(float(told[0]))
        found.append(RandomRemoval(point.k, plain(np.mean(scores)), plain(min(scores))))
    return tuple(found)


def _random_erased(random: Sequence[RandomRemoval], bound: float) -> int | None:
    told = [each.k for each in random[:-1] if each.score > bound]
    return next((each.k for each in random[:-1] if each.k > max(told, default=-1)), None)


def _origin(
    residuals: Residuals, facts: SAEFacts, study: _Study, points: Sequence[ErasurePoint], inputs: Sequence[InputScore]
) -> Provenance:
    return provenance(
        sites=[SiteFacts.of(residuals)], saes=[facts], settings=study.settings, seed=study.settings.seed,
        in_sample=study.parts.in_sample, warnings=(*study.parts.warnings, *_cautions(study, points, inputs)),
    )  # fmt: skip


def _selectivity(points: Sequence[ErasurePoint], erased: int | None, chance: float) -> float | None:
    if erased is None or not points[0].others:
        return None
    before = np.mean(points[0].others) - chance
    after = next(np.mean(point.others) - chance for point in points if point.k == erased)
    return plain(after / before) if before > 0 else None


def _control(name: str, sae: SAE, residuals: Residuals, study: _Study, progress: Tell | None) -> ControlErasure:
    made = control(name, sae, residuals, seed=study.settings.seed + 1)
    pooled = pool_codes(residuals, made, what=f"pooling {name}", progress=progress)
    values, seen = _values(pooled, made, study.parts, study.settings)
    points, _ = _removed(values, study, name, progress)
    return ControlErasure(name, len(seen), points, erased_from(points, study.bound))


def _nonlinear(left: Matrix, study: _Study) -> tuple[InputScore, ...]:
    """Nonlinear probes on the features that are left."""
    task = study.target
    found = []
    for name in study.settings.nonlinear if left.shape[1] else ():
        scores = nonlinear_scores(name, left[task.find], task.split.kinds, left[task.report], study.settings.seed)
        found.append(InputScore(name, _of(*task.judge.area(scores))))
    return tuple(found)


def _inputs(
    sae: SAE, residuals: Residuals, study: _Study, removed: Sequence[int], progress: Tell | None
) -> tuple[InputScore, ...]:
    """Linear probes on time means of the error term, of the residual, and of the residual with features ablated."""
    task, settings = study.target, study.settings
    found = []
    for name, values in residual_means(sae, residuals, removed, progress).items():
        scaled = Scaling.of(values[study.parts.find]).apply(values)
        fit = scaled[task.find]
        C = choose_penalty(fit, task.split, sorted(settings.penalties), settings.seed, ranked=True)
        scores = logits(fit, task.split.kinds, scaled[task.report], C, settings.seed)[:, 1]
        found.append(InputScore(name, _of(*task.judge.area(scores))))
    return tuple(found)


def _cautions(study: _Study, points: Sequence[ErasurePoint], inputs: Sequence[InputScore]) -> tuple[str, ...]:
    found = [CLOSED] if study.closed else []
    found += few_groups(len(set(study.target.split.held_groups)), "the scores are")
    null = points[0].concept.null
    half = 0.0 if null is None else (null.high - null.low) / 2
    if half > study.settings.margin:
        found.append(
            f"by chance alone scores lie {half:.3f} about chance, which is more than the margin of "
            f"{study.settings.margin:g}: too few clips to show that something is gone; give more, or a wider margin"
        )
    errors = [each.scored for each in inputs if each.name == ERROR]
    if errors and errors[0].interval is not None and errors[0].interval.low > study.bound:
        found.append(
            f"the error term alone tells {study.roles.concept!r} (AUC {errors[0].score:.3f}): ablating features leaves "
            "that in the model"
        )
    return tuple(found)
