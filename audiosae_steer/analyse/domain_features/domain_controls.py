"""Checks of an assignment to domains: on other clips, without one source, and under other draws of recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..frame.intervals import Interval, group_counts, interval_of
from ..frame.nulls import permuted_labels
from ..frame.parts import Parts
from ..frame.provenance import finite
from .domain_frequencies import Indices, Numbers, Tally, assigned, weights_of
from .domain_records import Confirmed, DomainSettings, Rule, Survival


def confirmed(
    whole: Tally,
    place: Indices,
    groups: Sequence[str],
    parts: Parts,
    rules: Sequence[Rule],
    settings: DomainSettings,
) -> tuple[Confirmed, ...]:
    """Assignments made on `find` and tried on `report`, by rule.

    Args:
        whole: counts of all features.
        place: (clips,) domain.
        groups: group of each clip.
        parts: rows of either part.
        rules: rules.
        settings: support, permutations and seed.
    """
    both = [whole.pick(rows) for rows in (parts.find, parts.report)]
    seen = [each.seen().mask(settings.min_frames, settings.min_clips) for each in both]
    find, report = (each.of(seen[0] & seen[1]) for each in both)
    size = int(place.max()) + 1
    first = find.frequencies(weights_of(place[parts.find], size))
    there = place[parts.report]
    second = report.frequencies(weights_of(there, size))
    own = [groups[int(row)] for row in parts.report]
    rng = np.random.default_rng(settings.seed)
    drawn = [
        report.frequencies(weights_of(permuted_labels(there, own, rng), size)) for _ in range(settings.permutations)
    ]
    found = []
    for rule in rules:
        chosen = assigned(first, rule)
        known = chosen >= 0
        same = int((known & (assigned(second, rule) == chosen)).sum())
        null = np.mean([(known & (assigned(each, rule) == chosen)).sum() for each in drawn])
        found.append(Confirmed(rule, int(known.sum()), same, finite(null, 6)))
    return tuple(found)


def interval_of_totals(
    counted: Tally, place: Indices, groups: Sequence[str], rules: Sequence[Rule], settings: DomainSettings
) -> dict[Rule, Interval]:
    """95 % interval of the number of features that each rule assigns, groups drawn within each domain.

    None where a domain is of one recording alone. Where a group has clips of several domains, groups are drawn over
    all.
    """
    size = int(place.max()) + 1
    drawn = _draws(place, groups, size, settings)
    if drawn is None:
        return {}
    base = weights_of(place, size)
    totals = np.empty((len(drawn), len(rules)))
    for number, weight in enumerate(drawn):
        frequencies = counted.frequencies(base * weight)
        totals[number] = [(assigned(frequencies, rule) >= 0).sum() for rule in rules]
        if not (base @ weight).all():
            totals[number] = np.nan
    intervals = [interval_of(column) for column in totals.T]
    return {rule: each for rule, each in zip(rules, intervals, strict=True) if each is not None}


def _draws(place: Indices, groups: Sequence[str], size: int, settings: DomainSettings) -> Numbers | None:
    """Number of times (draws, clips) that each clip is drawn."""
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    group = group.reshape(-1)
    strata = [np.unique(group[place == at]) for at in range(size)]
    if sum(map(len, strata)) > group.max() + 1:  # a group is in several domains
        strata = [np.arange(group.max() + 1)]
    if min(map(len, strata)) < 2:
        return None
    times = np.zeros((settings.draws, group.max() + 1))
    for number, each in enumerate(strata):
        times[:, each] = group_counts(len(each), draws=settings.draws, seed=settings.seed + number)
    return np.asarray(times[:, group])


def survivals(
    counted: Tally,
    names: Sequence[str],
    place: Indices,
    sources: Sequence[str] | None,
    groups: Sequence[str],
    rules: Sequence[Rule],
    settings: DomainSettings,
) -> tuple[Survival, ...]:
    """Features of each domain of several sources that stay its own without one source, whichever it is.

    The null permutes the sources among the recordings of the domain: leaving out as many of any source.

    Args:
        counted: counts of the features with support.
        names: domains.
        place: (clips,) domain.
        sources: source of each clip; None: not known.
        groups: group of each clip.
        rules: rules.
        settings: permutations and seed.
    """
    if sources is None:
        return ()
    named = np.array(sources)
    base = weights_of(place, len(names))
    whole = counted.frequencies(base)
    found = []
    for at, name in enumerate(names):
        rows = np.flatnonzero(place == at)
        several = [str(each) for each in np.unique(named[rows])]
        if len(several) < 2:
            continue
        rng = np.random.default_rng(settings.seed)
        own = [groups[int(row)] for row in rows]
        drawn = [permuted_labels(named[rows], own, rng) for _ in range(settings.permutations)]
        had = np.stack([assigned(whole, rule) == at for rule in rules])
        kept = _kept(counted, base, rows, named[rows], at, rules) & had
        null = sum(np.all(_kept(counted, base, rows, each, at, rules) & had, axis=0).sum(1) for each in drawn)
        share = np.asarray(null) / len(drawn)
        for number, rule in enumerate(rules):
            each_kept = tuple((source, int(kept[i, number].sum())) for i, source in enumerate(several))
            stays = int(kept[:, number].all(0).sum())
            assigned_now = int(had[number].sum())
            found.append(Survival(name, rule, assigned_now, each_kept, stays, finite(share[number], 6)))
    return tuple(found)


def _kept(
    counted: Tally, base: Numbers, rows: Indices, named: NDArray[np.str_], at: int, rules: Sequence[Rule]
) -> NDArray[np.bool_]:
    """Features (sources, rules, F) that are domain `at`'s when a source is left out of it."""
    found = []
    for source in np.unique(named):
        weights = base.copy()
        weights[at, rows[named == source]] = 0
        frequencies = counted.frequencies(weights)
        found.append(np.stack([assigned(frequencies, rule) == at for rule in rules]))
    return np.stack(found)
