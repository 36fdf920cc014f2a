"""Comparison of codes by how few of their columns attributes need: fills a `Completeness`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ..frame.intervals import Interval, few_groups
from ..frame.nulls import p_value, permuted_labels
from ..frame.parts import Parts, split_parts
from ..frame.provenance import finite, provenance, rounded
from ..probes.class_probes import clip_weights, middle
from .attribute_codes import CodeTables, with_controls
from .attribute_tables import Attributes
from .completeness_records import AttributeRow, AttributeScore, CodeRow, CompletenessSettings, Pair
from .completeness_result import Completeness
from .lasso_fits import Fit, concentration, determination, effective, fit_lasso, permutation_importance, refit

Matrix = NDArray[np.float64]
LEVEL = 0.05
LISTED = 5
"""Columns that are named of each attribute."""
REPEATS = 10
"""Permutations of a column behind its importance."""
LEAST_CLIPS = 20
"""Clips of either part with an attribute, from which it is fitted."""


class _Fitted(NamedTuple):
    """One attribute by one code."""

    fit: Fit
    carriers: Matrix
    """(n,) weights, or importances."""
    score: AttributeScore
    drawn: Matrix | None
    """R² of each bootstrap draw."""


@dataclass(frozen=True)
class _Study:
    """Everything that the codes have in common."""

    codes: dict[str, Matrix]
    attributes: Attributes
    groups: tuple[str, ...]
    parts: Parts
    settings: CompletenessSettings

    @property
    def smallest(self) -> int:
        return min(int(code.shape[1]) for code in self.codes.values())

    def rows(self, attribute: int) -> tuple[Any, Any]:
        """Clips of both parts that have an attribute."""
        known = np.isfinite(self.attributes.values[:, attribute])
        find, report = self.parts.find, self.parts.report
        return find[known[find]], report[known[report]]

    def target(self, attribute: int) -> Matrix | None:
        """The attribute standardised on clips to fit on; None where it does not vary, or hardly a clip has it."""
        find, report = self.rows(attribute)
        if min(len(find), len(report)) < LEAST_CLIPS or len({self.groups[i] for i in find}) < 2:
            return None
        values = self.attributes.values[:, attribute]
        spread = values[find].std()
        return (values - values[find].mean()) / spread if spread > 1e-9 and values[report].std() > 1e-9 else None


def completeness(
    codes: Mapping[str, Any] | CodeTables,
    attributes: Attributes,
    *,
    groups: Sequence[str] | None = None,
    parts: Parts | None = None,
    settings: CompletenessSettings | None = None,
    progress: Tell | None = None,
) -> Completeness:
    """Measure by how few columns of a code attributes of the clips are carried, beside controls.

    A Lasso for each attribute and code is fitted on one part of the groups, its penalty chosen by grouped folds, and
    R² is of the other part. Codes are compared on the attributes that all of them explain, and in pairs.

    Args:
        codes: (clips, n) by name, the first being the one in question; one named `dense` has random controls made of
            it. See `code_tables`.
        attributes: of the same clips.
        groups: speaker or recording of each clip; None: each clip is one of its own, which the result warns of.
        parts: clips to fit on and to report on; None: half of the groups each.
        settings: controls, bounds and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: codes and attributes are not of the same clips, or groups cannot be split.
        MissingExtraError: scikit-learn is not installed.
    """
    settings = settings or CompletenessSettings()
    given = codes if isinstance(codes, CodeTables) else CodeTables(dict(codes))
    clips = len(attributes.values)
    named = tuple(groups) if groups is not None else tuple(f"clip {i}" for i in range(clips))
    if len(named) != clips or any(len(code) != clips for code in given.tables.values()):
        raise SteeringError(
            f"attributes are of {clips} clips, groups of {len(named)}; give codes and groups of the same"
        )
    parts = parts or split_parts(named, share=settings.share, seed=settings.seed)
    check_groups(named, parts)
    tables, said = with_controls(given.tables, parts.find, settings)
    study = _Study(tables, attributes, named, parts, settings)
    weights = clip_weights([named[i] for i in parts.report], settings.draws, settings.seed)
    fitted: dict[tuple[str, int], _Fitted] = {}
    for number, name in enumerate(tables):
        for attribute in range(len(attributes.names)):
            if progress is not None:
                done, total = number * len(attributes.names) + attribute, len(tables) * len(attributes.names)
                progress(f"fitting {name}", done, total)
            fitted[name, attribute] = _fitted(study, name, attribute, weights)
    common = [i for i in range(len(attributes.names)) if all(fitted[name, i].score.explained for name in tables)]
    warned = (*parts.warnings, *attributes.warnings, *said, *_cautions(study, groups, common))
    return Completeness(
        provenance=provenance(
            sites=given.sites, saes=given.saes, settings=settings, seed=settings.seed, in_sample=parts.in_sample,
            warnings=warned,
        ),
        source=attributes.source,
        codes=tuple(_code_row(study, name, fitted, common) for name in tables),
        attributes=tuple(_row(study, i, [fitted[name, i] for name in tables]) for i in range(len(attributes.names))),
        common=tuple(attributes.names[i] for i in common),
        pairs=tuple(_pair(study, name, fitted) for name in list(tables)[1:]),
    )  # fmt: skip


def check_groups(groups: Sequence[str], parts: Parts) -> None:
    """Refuse parts of which no penalty can be chosen. SteeringError: the clips to fit on are of one group."""
    if len({groups[i] for i in parts.find}) < 2:
        raise SteeringError(
            "the clips to fit on are of one speaker or recording, so no penalty can be chosen on others; give clips of "
            "at least three, or name them in the column group of the labels"
        )


def _fitted(study: _Study, name: str, attribute: int, weights: Matrix | None) -> _Fitted:
    code, settings = study.codes[name], study.settings
    target = study.target(attribute)
    nothing = np.zeros(code.shape[1])
    if target is None:
        empty = AttributeScore(name, None, None, None, 1.0, 0.0, 0, False, None, None, None, ())
        return _Fitted(Fit(nothing, 0.0, nothing, nothing + 1), nothing, empty, None)
    find, report = study.rows(attribute)
    own = [study.groups[i] for i in find]
    fit = fit_lasso(code[find], target[find], own, folds=settings.folds, alphas=settings.alphas)
    truth, guessed = target[report], fit.predict(code[report])
    seen = float(determination(truth, guessed, np.ones((1, len(truth))))[0])
    null = _null(truth, guessed, [study.groups[i] for i in report], settings)
    drawn = None
    if weights is not None:
        kept = weights[:, np.isin(study.parts.report, report)]
        drawn = determination(truth, guessed, np.where(kept.sum(1, keepdims=True) > 0, kept, np.nan))
    p, bound = float(p_value(seen, null)), float(np.quantile(null, 1 - LEVEL))
    explained = bool(seen >= settings.least_r2 and p <= LEVEL and fit.weights.any())
    carriers = fit.weights
    if settings.importance == "permutation" and explained:
        carriers = permutation_importance(fit, code[report], truth, REPEATS, settings.seed)
    order = np.argsort(-np.abs(carriers), kind="stable")[:LISTED]
    listed = tuple((int(i), float(f"{carriers[i]:.4g}")) for i in order if carriers[i] != 0)
    used = int((fit.weights != 0).sum())
    number, c_paper, c_common = (
        (effective(carriers), concentration(carriers, code.shape[1]), concentration(carriers, study.smallest))
        if explained
        else (None, None, None)
    )
    score = AttributeScore(
        name, rounded(seen), middle(drawn), rounded(bound), finite(p), finite(fit.alpha), used,
        explained, rounded(number), rounded(c_paper), rounded(c_common), listed,
    )  # fmt: skip
    return _Fitted(fit, carriers, score, drawn)


def _null(truth: Matrix, guessed: Matrix, groups: Sequence[str], settings: CompletenessSettings) -> Matrix:
    """R² (permutations,) with the truth permuted between what is exchangeable; the fit stays."""
    rng = np.random.default_rng(settings.seed)
    once = np.ones((1, len(truth)))
    return np.array([
        determination(permuted_labels(truth, groups, rng), guessed, once)[0] for _ in range(settings.permutations)
    ])  # fmt: skip


def _row(study: _Study, attribute: int, found: Sequence[_Fitted]) -> AttributeRow:
    find, report = study.rows(attribute)
    names, families = study.attributes.names, study.attributes.families
    clips = (len(find), len(report))
    return AttributeRow(names[attribute], families[attribute], clips, tuple(each.score for each in found))


def _code_row(study: _Study, name: str, fitted: Mapping[tuple[str, int], _Fitted], common: Sequence[int]) -> CodeRow:
    code = study.codes[name]
    own = [fitted[name, i] for i in range(len(study.attributes.names))]
    shared = [fitted[name, i] for i in common]
    return CodeRow(
        name,
        code.shape[1],
        int((code[study.parts.find].std(0) > 1e-12).sum()),
        sum(each.score.explained for each in own),
        _mean([each.score.r2 for each in shared]),
        _geometric([each.score.effective for each in shared]),
        _mean([each.score.c_paper for each in shared]),
        _mean([each.score.c_common for each in shared]),
        _modularity(np.stack([np.abs(each.carriers) for each in shared])) if len(shared) > 1 else None,
    )


def _modularity(weights: Matrix) -> float | None:
    """1 − H / log A over attributes (A, n) of each column, weighted by the column's share of all weights."""
    total = weights.sum(0)
    shares = weights[:, total > 0] / total[total > 0]
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(0)
    each = 1 - entropy / np.log(len(weights))
    return rounded(np.average(each, weights=total[total > 0])) if len(each) else None


def _pair(study: _Study, name: str, fitted: Mapping[tuple[str, int], _Fitted]) -> Pair:
    first = next(iter(study.codes))
    both = [
        i for i in range(len(study.attributes.names))
        if fitted[first, i].score.explained and fitted[name, i].score.explained
    ]  # fmt: skip
    if not both:
        return Pair(name, 0, None, None, None, None, None, "not compared: no attribute is explained by both")
    ours, theirs = ([fitted[code, i].score for i in both] for code in (first, name))
    ratio = float(np.exp(np.mean([_log(b.effective) - _log(a.effective) for a, b in zip(ours, theirs, strict=True)])))
    interval = _jackknife(study, name, both, fitted, ratio)
    r2 = float(np.mean([(b.r2 or 0) - (a.r2 or 0) for a, b in zip(ours, theirs, strict=True)]))
    drawn = [(fitted[name, i].drawn, fitted[first, i].drawn) for i in both]
    differences = [b - a for b, a in drawn if b is not None and a is not None]
    change = np.mean([(b.c_paper or 0) - (a.c_paper or 0) for a, b in zip(ours, theirs, strict=True)])
    return Pair(
        name, len(both), rounded(ratio), interval, rounded(r2),
        middle(np.nanmean(differences, axis=0)) if differences else None, rounded(change), _verdict(interval),
    )  # fmt: skip


def _verdict(interval: Interval | None) -> str:
    if interval is None or interval.low <= 1 <= interval.high:
        return "no difference shown"
    return "more carriers" if interval.low > 1 else "fewer carriers"


def _jackknife(
    study: _Study, name: str, both: Sequence[int], fitted: Mapping[tuple[str, int], _Fitted], ratio: float
) -> Interval | None:
    """Interval of the ratio, blocks of groups that are fitted on left out in turn, penalties kept.

    A bootstrap would draw clips several times, which lets more columns into a Lasso.
    """
    groups = np.array([study.groups[i] for i in study.parts.find])
    names = np.random.default_rng(study.settings.seed).permutation(np.unique(groups))
    blocks = np.array_split(names, min(study.settings.blocks, len(names)))
    if len(blocks) < 2:
        return None
    first, found = next(iter(study.codes)), []
    for block in blocks:
        left = study.parts.find[~np.isin(groups, block)]
        logs = []
        for i in both:
            target = study.target(i)
            rows = left[np.isfinite(study.attributes.values[left, i])]
            if target is None or len(rows) < 2:
                continue
            a, b = (
                effective(refit(study.codes[code][rows], target[rows], fitted[code, i].fit.alpha))
                for code in (first, name)
            )
            if a is not None and b is not None:
                logs.append(np.log(b) - np.log(a))
        if logs:
            found.append(float(np.mean(logs)))
    if len(found) < 2:
        return None
    error = float(np.sqrt((len(found) - 1) * np.var(found)))
    ends = np.exp(np.log(ratio) + 1.96 * error * np.array([-1, 1]))
    return Interval(float(f"{ends[0]:.10g}"), float(f"{ends[1]:.10g}"))


def _cautions(study: _Study, groups: Sequence[str] | None, common: Sequence[int]) -> list[str]:
    found = []
    if groups is None:
        found.append("no groups were given: each clip counts as a speaker or recording of its own")
    found += few_groups(len({study.groups[i] for i in study.parts.report}), "R² is")
    if not common:
        found.append(
            "no attribute is explained by all codes: means over common attributes are left out; read the pairs"
        )
    if study.settings.importance == "permutation":
        found.append("shares are by permutation, intervals of the ratio by weights")
    return found


def _log(value: float | None) -> float:
    return float(np.log(value)) if value else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(np.mean(known)) if known else None


def _geometric(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return rounded(np.exp(np.mean(np.log(known)))) if known else None
