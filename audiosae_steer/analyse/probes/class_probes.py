"""Linear probes for two or more classes: ranked features, penalties that grouped folds choose, and held-out scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...evaluate.metrics.feature_ranking import weigh
from ..frame.extra import import_extra
from ..frame.intervals import DRAWS, Interval, group_counts, interval_of
from ..frame.nulls import permuted_labels

Matrix = NDArray[np.float64]
Kinds = NDArray[np.int64]
FOLDS = 3
"""Folds by group, within the clips that are fitted on, that choose the penalty."""
ITERATIONS = 300
"""Of the solver; without a penalty, classes that can be told for certain have no end."""
PLAIN = 1.0
"""Inverse strength of the penalty where there are too few groups to choose one."""


class Split(NamedTuple):
    """Clips to fit on and clips to score, numbered by class."""

    kinds: Kinds
    """Class of each clip to fit on."""
    groups: tuple[str, ...]
    """Their groups."""
    held: Kinds
    """Class of each clip to score."""
    held_groups: tuple[str, ...]
    classes: int
    """Number of classes."""


def fisher_scores(features: Matrix, kinds: Kinds) -> Matrix:
    """Fisher's score (F,) of features (clips, F).

    Of two classes (μ₁ − μ₀)² / (σ₁² + σ₀²); of more Σ n_c (μ_c − μ)² / Σ n_c σ_c².
    """
    names = np.unique(kinds)
    if len(names) == 2:
        return np.abs(weigh(features, kinds == names[1], "fisher").values)
    middle = features.mean(0)
    between, within = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for name in names:
        own = features[kinds == name]
        between += len(own) * (own.mean(0) - middle) ** 2
        within += len(own) * own.var(0)
    found: Matrix = between / (within + 1e-12 + 1e-6 * float(within.max()))
    return found


class Scaling(NamedTuple):
    """Mean and spread of each column on the clips that are fitted on, the same for each subset of the features."""

    mean: Matrix
    spread: Matrix

    @classmethod
    def of(cls, features: Matrix) -> Scaling:
        """Those of features (clips, F); a column that never varies has spread 1."""
        spread = features.std(0)
        return cls(features.mean(0), np.where(spread > 0, spread, 1.0))

    def apply(self, features: Matrix) -> Matrix:
        """Standardised features (clips, F)."""
        found: Matrix = (features - self.mean) / self.spread
        return found


def compact(fit: Matrix, held: Matrix) -> tuple[Matrix, Matrix]:
    """The same clips in as many columns as there are clips to fit on, at most.

    A ridge penalty does not see a rotation, and directions that no clip has get no weight: the fit is the same.
    """
    if fit.shape[1] <= fit.shape[0]:
        return fit, held
    rows = np.linalg.svd(fit, full_matrices=False)[2]
    return fit @ rows.T, held @ rows.T


def logits(fit: Matrix, kinds: Kinds, held: Matrix, C: float | None, seed: int = 0) -> Matrix:
    """Scores (held-out clips, classes) of a logistic regression; each class weighs the same.

    Args:
        fit: standardised features (clips, F); no columns give the same score to each class.
        kinds: their classes, all of them in it.
        held: features of the clips to score.
        C: inverse strength of its L2 penalty; None: no penalty.
        seed: seed of the solver.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    classes = len(np.unique(kinds))
    if not fit.shape[1]:
        return np.zeros((len(held), classes))
    fit, held = compact(fit, held)
    linear = import_extra("sklearn.linear_model")
    model: Any = linear.LogisticRegression(
        C=np.inf if C is None else C, class_weight="balanced", random_state=seed, max_iter=ITERATIONS
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", import_extra("sklearn.exceptions").ConvergenceWarning)
        model.fit(fit, kinds)
    found: Matrix = np.asarray(model.decision_function(held))
    return np.stack([-found, found], 1) / 2 if found.ndim == 1 else found


def choose_penalty(
    fit: Matrix, split: Split, penalties: Sequence[float | None], seed: int = 0, *, ranked: bool = False
) -> float | None:
    """Inverse strength of the penalty that does best on grouped folds of the clips to fit on; the strongest wins a tie.

    Args:
        fit: standardised features (clips, F).
        split: their classes and groups.
        penalties: those to choose among, the strongest first; None is no penalty.
        seed: seed of the folds.
        ranked: by the area under the ROC curve, of two classes, in place of balanced accuracy.
    """
    if len(penalties) == 1 or not fit.shape[1]:
        return penalties[0]
    alike = [len({g for g, k in zip(split.groups, split.kinds, strict=True) if k == kind}) for kind in _present(split)]
    folds = min(FOLDS, *alike)
    if folds < 2:
        return PLAIN
    made = import_extra("sklearn.model_selection").StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    totals = np.zeros(len(penalties))
    for train, test in made.split(fit, split.kinds, split.groups):
        if len(np.unique(split.kinds[train])) < split.classes or len(np.unique(split.kinds[test])) < 2:
            continue  # a fold that lacks a class
        left, right = compact(fit[train], fit[test])
        for place, C in enumerate(penalties):
            scores = logits(left, split.kinds[train], right, C, seed)
            truth = split.kinds[test]
            if ranked:
                totals[place] += areas(scores[:, 1], truth == 1, np.ones((1, len(truth))))[0]
            else:
                totals[place] += accuracies(scores.argmax(1), truth, split.classes, np.ones((1, len(truth))))[0]
    return penalties[int(np.argmax(np.round(totals, 9)))] if totals.any() else PLAIN


def _present(split: Split) -> Kinds:
    found: Kinds = np.unique(split.kinds)
    return found


def accuracies(guessed: Kinds, truth: Kinds, classes: int, weights: Matrix) -> Matrix:
    """Balanced accuracy (draws,): the mean over classes of the share of their clips that are told.

    Args:
        guessed: class that is guessed (clips,).
        truth: class of each.
        classes: number of classes.
        weights: times that each clip is drawn (draws, clips); a class that is not drawn is left out of the mean.
    """
    own = np.eye(classes)[truth]
    right = weights @ (own * (guessed == truth)[:, None])
    total = weights @ own
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Matrix = np.nanmean(np.where(total > 0, right / np.where(total > 0, total, 1), np.nan), 1)
    return found


def areas(scores: Matrix, present: NDArray[np.bool_], weights: Matrix) -> Matrix:
    """Area under the ROC curve (draws,), ties counting half; NaN where a draw has one kind only.

    Args:
        scores: score of each clip (clips,).
        present: clips with the class.
        weights: times that each clip is drawn (draws, clips).
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, np.diff(ranked) != 0])
    positive = np.add.reduceat(weights[:, order] * present[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~present[order], starts, axis=1)
    below = np.cumsum(negative, 1) - negative / 2
    totals = positive.sum(1) * negative.sum(1)
    found: Matrix = np.where(totals > 0, (positive * below).sum(1) / np.where(totals > 0, totals, 1), np.nan)
    return found


def correlations(guessed: NDArray[np.bool_], truth: NDArray[np.bool_], weights: Matrix) -> Matrix:
    """Matthews correlation (draws,) of one class against the rest; 0 where a side of the table is empty.

    Args:
        guessed: clips that are taken for the class.
        truth: clips that are of it.
        weights: times that each clip is drawn (draws, clips).
    """
    total, told, own = weights.sum(1), weights @ guessed, weights @ truth
    both = weights @ (guessed & truth)
    spread = np.sqrt(told * (total - told) * own * (total - own))
    found: Matrix = np.where(spread > 0, (both * total - told * own) / np.where(spread > 0, spread, 1), 0.0)
    return found


def clip_weights(groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> Matrix | None:
    """Times that each clip is drawn (draws, clips), whole groups with replacement; None where there is one group."""
    names, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        return None
    found: Matrix = group_counts(len(names), draws=draws, seed=seed)[:, place.reshape(-1)]
    return found


class Judge:
    """Scores of held-out clips with their intervals and their null, all from the same draws.

    The null permutes the labels of the held-out clips between what is exchangeable, and keeps the fit: as the held-out
    clips had no part in it, this is exact, and it costs no fit.

    Args:
        split: clips.
        draws: draws of groups behind an interval.
        permutations: permutations of the labels.
        seed: seed of both.

    Raises:
        SteeringError: there are no permutations.
    """

    def __init__(self, split: Split, draws: int, permutations: int, seed: int) -> None:
        if permutations < 1 or draws < 1:
            raise SteeringError(f"{permutations} permutations and {draws} draws; give at least one of each")
        self.split = split
        self.weights = clip_weights(split.held_groups, draws, seed)
        rng = np.random.default_rng(seed)
        self.permuted = [permuted_labels(split.held, split.held_groups, rng) for _ in range(permutations)]
        self.once = np.ones((1, len(split.held)))

    def accuracy(self, guessed: Kinds) -> tuple[float, Matrix | None, Matrix]:
        """Balanced accuracy, its draws, and its null (permutations,)."""
        n = self.split.classes
        seen = float(accuracies(guessed, self.split.held, n, self.once)[0])
        drawn = None if self.weights is None else accuracies(guessed, self.split.held, n, self.weights)
        null = np.array([accuracies(guessed, labels, n, self.once)[0] for labels in self.permuted])
        return seen, drawn, null

    def area(self, scores: Matrix) -> tuple[float, Matrix | None, Matrix]:
        """Area under the ROC curve of class 1 of two, its draws, and its null (permutations,)."""
        held = self.split.held == 1
        seen = float(areas(scores, held, self.once)[0])
        drawn = None if self.weights is None else areas(scores, held, self.weights)
        null = np.array([areas(scores, labels == 1, self.once)[0] for labels in self.permuted])
        return seen, drawn, null


def middle(drawn: Matrix | None) -> Interval | None:
    """The 95 % interval of draws, rounded to what they can tell."""
    found = None if drawn is None else interval_of(drawn)
    return None if found is None else Interval(float(f"{found.low:.10g}"), float(f"{found.high:.10g}"))


def grid(n: int, ks: Sequence[int] = ()) -> tuple[int, ...]:
    """Numbers of features up to n, 1, 2, 5, 10 and so on, or those that are given, and n.

    Raises:
        SteeringError: one is negative.
    """
    if any(k < 0 for k in ks):
        raise SteeringError(f"{min(ks)} features cannot be taken; give numbers from 0 on")
    steps = ks or [base * 10**power for power in range(len(str(n))) for base in (1, 2, 5)]
    return tuple(sorted({int(k) for k in steps if 0 < k < n} | {n}))
