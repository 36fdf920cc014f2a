"""Probes of pooled features: fills a `ProbeCurve`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import ClipCodes, Dictionary, pool_codes
from ..frame.control_dictionaries import CONTROLS, Dense, control
from ..frame.excerpts import Excerpts
from ..frame.intervals import few_groups, interval_of
from ..frame.nulls import p_value
from ..frame.parts import Parts, parts_of, split_parts
from ..frame.presented import Moment
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance, rounded
from ..frame.residual_clips import Residuals
from .class_probes import Judge, Kinds, Matrix, Scaling, Split, choose_penalty, fisher_scores, grid, logits, middle
from .probe_curve import ProbeCurve
from .probe_records import ControlCurves, Curves, ProbePoint, ProbeSettings, RandomOrder, Told, erased_of, saturation_of

EXAMPLES = 4
SECONDS = 4.0
"""Stretch of an example."""


class Probed(NamedTuple):
    """A fit's scores, and what they are judged by."""

    point: ProbePoint
    drawn: Matrix | None
    """Score of each bootstrap draw (draws,)."""
    logits: Matrix
    """(held-out clips, classes)."""


@dataclass(frozen=True)
class _Codes:
    """Pooled, standardised activations of one dictionary in both parts, and what is made of them."""

    find: Matrix
    """(clips to fit on, seen features)."""
    report: Matrix
    order: NDArray[np.int64]
    """Columns, the best first."""
    seen: NDArray[np.int64]
    """Number of each column's feature."""
    decoder: Matrix | None
    """(seen features, d_model) rows that make reconstructions; None: the probe reads features."""
    scaling: Scaling | None
    """Of the full reconstruction."""

    def inputs(self, columns: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
        """Input of a probe on some of the features, in both parts."""
        if self.decoder is None or self.scaling is None:
            return self.find[:, columns], self.report[:, columns]
        if not len(columns):
            return self.find[:, :0], self.report[:, :0]
        rows = self.decoder[columns] / self.scaling.spread
        return self.find[:, columns] @ rows, self.report[:, columns] @ rows


def probe(
    sae: SAE, residuals: Residuals, *, settings: ProbeSettings | None = None, progress: Tell | None = None
) -> ProbeCurve:
    """Measure how well a linear probe tells the clips' labels from the k best features, and without them.

    AudioSAE (arXiv 2602.05027) does so on reconstructions of max-pooled features. Features are ranked by Fisher's score
    and probes are fitted, with an L2 penalty that grouped folds choose for each k, on one part of the speakers or
    recordings; balanced accuracy is of the other. Random orders take the penalty of the ranking at the same k.

    Args:
        sae: the SAE.
        residuals: labelled clips at its site; see `read_residuals`.
        settings: numbers of features, pooling, space, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: labels or groups cannot bear it, or no feature has support.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or ProbeSettings()
    labels = checked_labels(residuals)
    unknown = [name for name in settings.controls if name not in CONTROLS]
    if unknown:
        raise SteeringError(f"control {unknown[0]!r} is unknown; expected one of {', '.join(CONTROLS)}")
    parts = labelled_parts(residuals, settings.share, settings.seed)
    split = split_of(labels, residuals.groups, parts)
    judge = Judge(split, settings.draws, settings.permutations, settings.seed)
    pooled = pool_codes(residuals, sae, progress=progress)
    codes = _codes(pooled, sae, parts, split, settings)
    curves, full = _curves(codes, split, judge, settings, "the SAE", progress)
    chance = 1 / split.classes
    random = _random_orders(codes, split, curves, settings, progress)
    controls = [_control(name, sae, residuals, parts, (split, judge, full), settings, progress)
                for name in settings.controls]  # fmt: skip
    bound = curves.full.null.high if curves.full.null is not None else chance
    return ProbeCurve(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, pooled.l0)], settings=settings, seed=settings.seed,
            in_sample=parts.in_sample, warnings=(*parts.warnings, *_cautions(split)),
        ),
        labels=tuple(sorted(set(labels))),
        clips=(len(split.kinds), len(split.held)),
        groups=(len(set(split.groups)), len(set(split.held_groups))),
        features=sae.n_features,
        seen=len(codes.seen),
        chance=plain(chance),
        curves=curves,
        random_order=random,
        controls=tuple(controls),
        saturation_k=saturation_of(curves.full, curves.top, chance),
        erased_k=erased_of(curves.unlearned, chance),
        random_erased_k=next((each.k for each in random if each.unlearned <= bound), None),
        ranking=tuple(int(each) for each in codes.seen[codes.order]),
        examples=_examples(full.logits, split, parts, residuals),
        told=Told(*(tuple(each) for each in (parts.report.tolist(), split.held_groups, split.held.tolist(),
                                             full.logits.argmax(1).tolist()))),
    )  # fmt: skip


def checked_labels(residuals: Residuals | Excerpts) -> tuple[str, ...]:
    """The label of each clip, read or not yet read.

    Raises:
        SteeringError: a clip has none, or all have the same.
    """
    missing = [i for i, label in enumerate(residuals.labels) if label is None]
    if missing:
        raise SteeringError(
            f"{len(missing)} of {len(residuals)} clips have no label, clip {missing[0]} first; name the labels in a "
            "CSV (--labels: file,label,group)"
        )
    labels = tuple(str(label) for label in residuals.labels)
    if len(set(labels)) < 2:
        raise SteeringError(f"all {len(labels)} clips have the label {labels[0]!r}; a probe takes two labels at least")
    return labels


def labelled_parts(residuals: Residuals | Excerpts, share: float, seed: int) -> Parts:
    """Parts of labelled clips, each label in both.

    It takes excerpts as well, to refuse before anything is encoded what would be refused later.

    Raises:
        SteeringError: there are none, or a part that was given lacks a label.
    """
    excerpts = residuals if isinstance(residuals, Excerpts) else residuals.excerpts
    if excerpts is not None:
        parts = parts_of(excerpts, share=share, seed=seed)
    else:
        parts = split_parts(residuals.groups, residuals.labels, share=share, seed=seed)
    labels = np.asarray([label or "" for label in residuals.labels])
    for name, rows in (("find", parts.find), ("report", parts.report)):
        lacking = sorted(set(labels.tolist()) - set(labels[rows].tolist()))
        if lacking:
            raise SteeringError(f"the part {name} has no clip of {lacking[0]!r}; put clips of each label into both")
    return parts


def split_of(labels: Sequence[str], groups: Sequence[str], parts: Parts) -> Split:
    """Classes and groups of both parts, classes numbered in the order of their names."""
    names, kinds = np.unique(np.asarray(labels), return_inverse=True)
    kinds = kinds.reshape(-1)
    find, report = (tuple(groups[i] for i in rows) for rows in (parts.find, parts.report))
    return Split(kinds[parts.find], find, kinds[parts.report], report, len(names))


def _codes(pooled: ClipCodes, dictionary: Dictionary, parts: Parts, split: Split, settings: ProbeSettings) -> _Codes:
    """Codes of both parts by a dictionary. SteeringError: no feature has support."""
    flags = pooled.seen(parts.find).mask(settings.min_frames, settings.min_clips)
    if isinstance(dictionary, Dense):
        flags = np.ones_like(flags)  # a coordinate has a value on each frame
    if not flags.any():
        raise SteeringError(
            f"no feature fires on {settings.min_frames} frames and in {settings.min_clips} clips of the "
            f"{len(parts.find)} clips to rank on; give more audio, or ask for less support"
        )
    seen = np.flatnonzero(flags)
    values: Matrix = getattr(pooled, settings.pool)[:, flags].astype(np.float64)
    scaling = Scaling.of(values[parts.find])
    scaled = scaling.apply(values)
    order = np.argsort(-fisher_scores(values[parts.find], split.kinds), kind="stable")
    if settings.space == "features" or isinstance(dictionary, Dense):
        return _Codes(scaled[parts.find], scaled[parts.report], order, seen, None, None)
    # in the decoder's units again: z-scores times the spread, so that only the constant is gone
    rows = decoder_rows(dictionary)[flags] * scaling.spread[:, None]
    return _Codes(scaled[parts.find], scaled[parts.report], order, seen, rows, Scaling.of(scaled[parts.find] @ rows))


def decoder_rows(dictionary: Any) -> Matrix:
    """Decoder rows (F, d_model)."""
    found: Matrix = dictionary.W_dec.detach().double().cpu().numpy()
    return found


def _curves(
    codes: _Codes, split: Split, judge: Judge, settings: ProbeSettings, name: str, progress: Tell | None
) -> tuple[Curves, Probed]:
    n = len(codes.seen)
    ks = [k for k in grid(n, settings.ks) if k < n]
    penalties: tuple[float | None, ...] = (*sorted(settings.penalties), *((None,) if settings.unpenalised else ()))
    if not penalties or min(settings.penalties, default=1) <= 0:
        raise SteeringError(f"penalties are {settings.penalties}; give at least one number above 0")
    done = 0

    def probed(k: int, columns: NDArray[np.int64]) -> Probed:
        nonlocal done
        if progress is not None:
            progress(f"probing {name}", done, 2 * len(ks) + 2)
        done += 1
        fit, held = codes.inputs(columns)
        C = choose_penalty(fit, split, penalties, settings.seed)
        return judged(k, logits(fit, split.kinds, held, C, settings.seed), C, judge)

    full = probed(n, codes.order)
    top = tuple(probed(k, codes.order[:k]).point for k in ks)
    unlearned = tuple(probed(k, codes.order[k:]).point for k in (*ks, n))
    if progress is not None:
        progress(f"probing {name}", 2 * len(ks) + 2, 2 * len(ks) + 2)
    return Curves(full.point, top, (full.point._replace(k=0), *unlearned)), full


def judged(k: int, scores: Matrix, C: float | None, judge: Judge) -> Probed:
    """Scores (held-out clips, classes) with their interval and null; ties go to the class of the lowest number."""
    seen, drawn, null = judge.accuracy(scores.argmax(1))
    area = judge.area(scores[:, 1])[0] if judge.split.classes == 2 else None
    interval, chance = middle(drawn), middle(null)
    point = ProbePoint(k, plain(seen), interval, chance, plain(float(p_value(seen, null))), rounded(area), C)
    return Probed(point, drawn, scores)


def _random_orders(
    codes: _Codes, split: Split, curves: Curves, settings: ProbeSettings, progress: Tell | None
) -> tuple[RandomOrder, ...]:
    rng = np.random.default_rng(settings.seed)
    once = np.ones((1, len(split.held)))
    orders = [rng.permutation(len(codes.seen)) for _ in range(settings.random_orders)]
    found = []
    for number, (alone, without) in enumerate(zip(curves.top, curves.unlearned[1:], strict=False)):
        if progress is not None:
            progress("probing in random order", number, len(curves.top))
        scores = np.array([
            [_quick(codes, order[:alone.k], split, alone.C, settings.seed, once),
             _quick(codes, order[alone.k:], split, without.C, settings.seed, once)]
            for order in orders
        ])  # fmt: skip
        ranges = [interval_of(column) for column in scores.T] if len(scores) else [None, None]
        if ranges[0] is not None and ranges[1] is not None:
            means = scores.mean(0)
            found.append(RandomOrder(alone.k, plain(means[0]), ranges[0], plain(means[1]), ranges[1]))
    return tuple(found)


def _quick(codes: _Codes, columns: NDArray[np.int64], split: Split, C: float | None, seed: int, once: Matrix) -> float:
    """Balanced accuracy alone."""
    from .class_probes import accuracies

    fit, held = codes.inputs(columns)
    guessed: Kinds = logits(fit, split.kinds, held, C, seed).argmax(1)
    return float(accuracies(guessed, split.held, split.classes, once)[0])


def _control(
    name: str,
    sae: SAE,
    residuals: Residuals,
    parts: Parts,
    known: tuple[Split, Judge, Probed],
    settings: ProbeSettings,
    progress: Tell | None,
) -> ControlCurves:
    split, judge, full = known
    made = control(name, sae, residuals, seed=settings.seed + 1)
    pooled = pool_codes(residuals, made, what=f"pooling {name}", progress=progress)
    codes = _codes(pooled, made, parts, split, settings)
    curves, own = _curves(codes, split, judge, settings, name, progress)
    drawn = None if full.drawn is None or own.drawn is None else full.drawn - own.drawn
    lead = full.point.score - own.point.score
    return ControlCurves(name, len(codes.seen), curves, plain(lead), middle(drawn))


def _cautions(split: Split) -> tuple[str, ...]:
    found = few_groups(len(set(split.held_groups)), "the scores are")
    alike = min(len({g for g, k in zip(split.groups, split.kinds, strict=True) if k == kind})
                for kind in range(split.classes))  # fmt: skip
    if alike < 2:
        found.append("a label is in one group only of the clips to fit on: the penalty could not be chosen by folds")
    return tuple(found)


def _examples(scores: Matrix, split: Split, parts: Parts, residuals: Residuals) -> tuple[Moment, ...]:
    """Held-out clips that are taken for another class, by how much more that class has than their own."""
    if residuals.excerpts is None:
        return ()
    guessed = scores.argmax(1)
    margin = scores.max(1) - scores[np.arange(len(scores)), split.held]
    names = sorted({str(label) for label in residuals.labels})
    found = []
    for row in np.argsort(-margin, kind="stable")[:EXAMPLES]:
        if guessed[row] == split.held[row]:
            break
        clip = int(parts.report[row])
        item = residuals.excerpts.items[clip]
        says = (
            f"{item.name} is {names[split.held[row]]}, and the probe on all features takes it for {names[guessed[row]]}"
        )
        stretch = round(min(SECONDS, item.seconds), 3)
        found.append(Moment(clip=clip, name=item.name, start=0.0, seconds=stretch, says=says))
    return tuple(found)


def plain(value: Any) -> float:
    """A finite number, rounded."""
    return finite(value)
