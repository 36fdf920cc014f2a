"""Scores of features' names as queries: fills a `Retrieval`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import ClipCodes, pool_codes
from ..frame.control_dictionaries import control
from ..frame.nulls import p_value, permuted_labels
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance
from ..frame.residual_clips import Residuals
from ..probes.class_probes import clip_weights, middle
from ..probes.probing import checked_labels, labelled_parts
from .retrieval_records import ControlRetrieval, MeanPrecision, NamedFeature, RetrievalSettings
from .retrieval_result import Retrieval

Matrix = NDArray[np.float64]
Queries = Sequence[tuple[Matrix, str]]
GIVEN = "names were given: if they were chosen by ear or by rule on these very clips, the scores flatter them"


def retrieval(
    sae: SAE,
    residuals: Residuals,
    names: Mapping[int, str] | None = None,
    *,
    settings: RetrievalSettings | None = None,
    progress: Tell | None = None,
) -> Retrieval:
    """Score features' names as queries: do the clips that a feature ranks first have its name as their label.

    Args:
        sae: the SAE.
        residuals: labelled clips at its site; see `read_residuals`.
        names: name of each feature, one of the clips' labels, without regard to case; all clips are then ranked. None:
            each label is given the feature of the highest average precision on one part of the speakers or recordings,
            and the other part is ranked.
        settings: score of a clip, controls, draws and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: a name is no label, a feature does not exist, or labels or groups cannot bear it.
    """
    settings = settings or RetrievalSettings()
    labels = np.array(checked_labels(residuals))
    kinds = np.unique(labels)
    warned: tuple[str, ...] = (GIVEN,)
    if names is not None:
        chosen = _checked(names, kinds, sae.n_features)
        rows = np.arange(len(residuals))
    else:
        parts = labelled_parts(residuals, settings.share, settings.seed)
        rows, warned = parts.report, parts.warnings
    pooled = pool_codes(residuals, sae, progress=progress)
    scores = clip_scores(pooled, settings.score)
    if names is None:
        chosen = _found(scores, pooled, labels, parts.find, settings)
    table, groups = scores[rows], [residuals.groups[i] for i in rows]
    order = sorted(chosen, key=lambda each: (chosen[each], each))
    queries = _Queries(labels[rows], clip_weights(groups, settings.draws, settings.seed))
    own = [(table[:, i], chosen[i]) for i in order]
    controls = [
        _control(name, sae, residuals, (parts.find, queries, own, rows), settings, progress)
        for name in (settings.controls if names is None else ())
    ]
    listed = tuple(_row(i, chosen[i], table[:, i], labels[rows] == chosen[i]) for i in order)
    return Retrieval(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, pooled.l0)], settings=settings, seed=settings.seed,
            warnings=warned,
        ),
        found_here=names is None,
        clips=len(rows),
        groups=len(set(groups)),
        mean=_mean(queries, own, groups, settings),
        base=finite(np.mean([row.base for row in listed])),
        names=listed,
        controls=tuple(controls),
    )  # fmt: skip


def clip_scores(codes: ClipCodes, score: str) -> Matrix:
    """Score (clips, F) by which each feature ranks clips."""
    if score == "max":
        return codes.max.astype(np.float64)
    mean = codes.mean.astype(np.float64)
    return mean if score == "mean" else mean * codes.fired / np.maximum(codes.frames, 1)[:, None]


def average_precision(scores: Any, relevant: Any, weights: Any = None) -> Any:
    """Average precision, clips of equal scores counted together, as scikit-learn does.

    Args:
        scores: (clips,), higher first.
        relevant: (clips,) bool.
        weights: times that each clip is drawn (draws, clips); None: once.

    Returns:
        A number; with weights (draws,), NaN where no relevant clip is drawn.
    """
    values, flags = np.asarray(scores, float), np.asarray(relevant, bool)
    drawn = np.ones((1, len(values))) if weights is None else np.asarray(weights, float)
    order = np.argsort(-values, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    hits = np.add.reduceat(drawn[:, order] * flags[order], starts, axis=1)
    total = np.cumsum(np.add.reduceat(drawn[:, order], starts, axis=1), 1)
    precision = np.cumsum(hits, 1) / np.where(total > 0, total, 1)
    every = hits.sum(1)
    found = np.where(every > 0, (hits * precision).sum(1) / np.where(every > 0, every, 1), np.nan)
    return found if weights is not None else float(found[0])


def read_names(path: str | Path) -> dict[int, str]:
    """Names of features from a CSV with the columns `feature` and `name`.

    Raises:
        SteeringError: it cannot be used.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = {int(row["feature"]): row["name"].strip() for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, AttributeError) as error:
        raise SteeringError(f"{path} is no CSV of names ({error!r}); expected the columns feature,name") from error
    if not found:
        raise SteeringError(f"{path} names no feature; add one a line below feature,name")
    return found


def _checked(names: Mapping[int, str], kinds: Any, features: int) -> dict[int, str]:
    known = {str(kind).casefold(): str(kind) for kind in kinds}
    wrong = [name for name in names.values() if name.strip().casefold() not in known]
    if wrong or not names:
        raise SteeringError(
            f"the name {wrong[0]!r} is no label of these clips; expected one of {', '.join(known.values())}"
            if wrong
            else "there are no names; give at least one feature and its name"
        )
    far = [feature for feature in names if not 0 <= feature < features]
    if far:
        raise SteeringError(f"there is no feature {far[0]}; this SAE has features 0 to {features - 1}")
    return {int(feature): known[name.strip().casefold()] for feature, name in names.items()}


def _found(scores: Matrix, codes: ClipCodes, labels: Any, find: Any, settings: RetrievalSettings) -> dict[int, str]:
    """Each label's feature of the highest average precision on one part; a feature has one name.

    Raises:
        SteeringError: no feature fires in enough clips.
    """
    seen = np.flatnonzero((codes.fired[find] > 0).sum(0) >= settings.min_clips)
    if not len(seen):
        raise SteeringError(f"no feature fires in {settings.min_clips} of the {len(find)} clips to find names on")
    chosen: dict[int, str] = {}
    for label in np.unique(labels):
        truth = labels[find] == label
        ranked = sorted(seen, key=lambda i: -average_precision(scores[find, i], truth))
        free = next((int(i) for i in ranked if int(i) not in chosen), None)
        if free is not None:
            chosen[free] = str(label)
    return chosen


class _Queries(NamedTuple):
    """Clips that are ranked."""

    labels: Any
    """(clips,)"""
    weights: Matrix | None
    """Times that each clip is drawn (draws, clips); None with one group."""

    def mean(self, queries: Queries, labels: Any = None) -> float:
        """Mean average precision of pairs of scores (clips,) and a name."""
        truth = self.labels if labels is None else labels
        return float(np.mean([average_precision(scores, truth == name) for scores, name in queries]))

    def drawn(self, queries: Queries) -> Matrix | None:
        """The same for each draw (draws,)."""
        if self.weights is None:
            return None
        found = [average_precision(scores, self.labels == name, self.weights) for scores, name in queries]
        return np.asarray(np.mean(found, axis=0))


def _control(
    name: str,
    sae: SAE,
    residuals: Residuals,
    parts: tuple[Any, _Queries, Queries, Any],
    settings: RetrievalSettings,
    progress: Tell | None,
) -> ControlRetrieval:
    """A control's features, named on one part and scored on the other, beside the SAE's own queries."""
    find, queries, own, report = parts
    labels = np.array([str(label) for label in residuals.labels])
    made = control(name, sae, residuals, seed=settings.seed)
    codes = pool_codes(residuals, made, what=f"pooling {name}", progress=progress)
    scores = clip_scores(codes, settings.score)
    found = [(scores[report][:, i], label) for i, label in _found(scores, codes, labels, find, settings).items()]
    drawn, drawn_own = queries.drawn(found), queries.drawn(own)
    lead = None if drawn is None or drawn_own is None else middle(drawn_own - drawn)
    return ControlRetrieval(name, finite(queries.mean(found)), middle(drawn), lead)


def _row(feature: int, name: str, scores: Matrix, relevant: Any) -> NamedFeature:
    ranked = relevant[np.argsort(-scores, kind="stable")]
    count = int(relevant.sum())
    ten = min(10, len(ranked))
    return NamedFeature(
        feature, name, count, finite(average_precision(scores, relevant)), finite(relevant.mean()),
        finite(ranked[:count].mean()), finite(ranked[:ten].mean()),
        finite(ranked[:ten].sum() / count),
    )  # fmt: skip


def _mean(queries: _Queries, own: Queries, groups: Sequence[str], settings: RetrievalSettings) -> MeanPrecision:
    """Mean average precision with its interval, and its null of labels permuted between what is exchangeable."""
    seen = queries.mean(own)
    rng = np.random.default_rng(settings.seed)
    permuted = (permuted_labels(queries.labels, groups, rng) for _ in range(settings.permutations))
    null = np.array([queries.mean(own, labels) for labels in permuted])
    drawn = middle(queries.drawn(own))
    return MeanPrecision(finite(seen), drawn, middle(null) if len(null) else None, finite(p_value(seen, null)))
