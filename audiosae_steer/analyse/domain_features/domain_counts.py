"""Assignment of an SAE's features to domains of sound: fills a `Domains`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Dictionary
from ..frame.control_dictionaries import control
from ..frame.nulls import p_value, permuted_labels
from ..frame.parts import Parts, parts_of, split_parts
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance, rounded
from ..frame.residual_clips import Residuals
from .domain_assignments import Domains
from .domain_controls import confirmed, interval_of_totals, survivals
from .domain_examples import examples_of
from .domain_frequencies import Tally, ahead, assigned, counts, tally, weights_of
from .domain_records import Assigned, ControlDomains, DomainFacts, DomainSettings, Rule

MOST = 12
"""Domains that are compared at most."""


@dataclass(frozen=True)
class _Cut:
    """Clips that are long enough, and where each belongs."""

    residuals: Residuals
    rows: NDArray[np.int64]
    """(clips,) number of each in the data."""
    length: int
    """Frames of a piece."""
    names: tuple[str, ...]
    place: NDArray[np.int64]
    """(clips,) domain."""
    sources: tuple[str, ...] | None
    left_out: tuple[int, ...]
    """Clips of each domain that are too short."""


def domains(
    sae: SAE,
    residuals: Residuals,
    *,
    sources: Sequence[str] | None = None,
    settings: DomainSettings | None = None,
    progress: Tell | None = None,
) -> Domains:
    """Count the features of an SAE that fire mostly in one domain of sound.

    AudioSAE (arXiv 2602.05027) assigns features to speech, music and sounds so. Clips are cut to equal length, and
    frames of padding are left out.

    Args:
        sae: the SAE.
        residuals: clips with their domain as the label; see `excerpts_of_domains`.
        sources: corpus or folder of each clip, for leaving one out; None: not known.
        settings: bounds, length, support, permutations, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: there are fewer than two domains, their clips are too short, or no feature has support.
    """
    settings = settings or DomainSettings()
    rules = settings.rules()
    cut = _cut(residuals, sources, settings)
    whole = tally(cut.residuals, sae, cut.length, what="counting features", progress=progress)
    seen = whole.seen().mask(settings.min_frames, settings.min_clips)
    _check_support(seen, settings)
    counted = whole.of(seen)
    clips = whole.frequencies(weights_of(cut.place, len(cut.names)))
    parts, warnings = _parts(cut, settings)
    controls = tuple(_control(name, sae, cut, rules, settings, progress) for name in settings.controls)
    l0 = float(whole.frames.sum() / (whole.count.sum() * cut.length))
    origin = provenance(
        sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, l0)], settings=settings, seed=settings.seed,
        in_sample=parts is None, warnings=(*_short(cut), *warnings),
    )  # fmt: skip
    found = Domains(
        provenance=origin,
        domains=_facts(cut, counted),
        piece_frames=cut.length,
        piece_seconds=rounded(cut.length / residuals.rate) if residuals.rate else None,
        features=sae.n_features,
        seen=int(seen.sum()),
        dead=int((whole.frames.sum(0) == 0).sum()),
        assigned=_assigned(counted, cut, rules, settings, progress, all_subsets=True),
        confirmed=() if parts is None else confirmed(whole, cut.place, cut.residuals.groups, parts, rules, settings),
        survivals=survivals(counted, cut.names, cut.place, cut.sources, cut.residuals.groups, rules, settings),
        controls=controls,
        frame_frequency=_columns(clips.frame, seen),
        clip_frequency=_columns(clips.clip, seen),
        frame_log_ratio=_row(ahead(clips, Rule("frame", "ratio", 2)), seen),
        clip_log_ratio=_row(ahead(clips, Rule("clip", "ratio", 2)), seen),
        strength=_row(whole.strength, seen),
    )
    return replace(found, examples=examples_of(found, whole, cut.place, cut.rows, residuals))


def _cut(residuals: Residuals, sources: Sequence[str] | None, settings: DomainSettings) -> _Cut:
    """The clips that are long enough, with their domains."""
    labels = residuals.labels
    names = tuple(sorted({label for label in labels if label is not None}))
    if None in labels or not 2 <= len(names) <= MOST:
        raise SteeringError(
            f"{sum(label is None for label in labels)} of {len(labels)} clips are without a domain, and there are "
            f"{len(names)} domains; give each clip its domain as its label, of 2 to {MOST} domains"
        )
    if sources is not None and len(sources) != len(labels):
        raise SteeringError(f"there are {len(labels)} clips and {len(sources)} sources; give one for each clip")
    rate = residuals.rate
    length = int(residuals.frames.min()) if rate is None else max(round(settings.seconds * rate), 1)
    place = np.array([names.index(label) for label in labels if label is not None])
    long = residuals.frames >= length
    for at, name in enumerate(names):
        if length < 1 or not long[place == at].any():
            longest = residuals.frames[place == at].max() / (rate or 1)
            raise SteeringError(
                f"no clip of the domain {name!r} lasts {length / (rate or 1):g} {'s' if rate else 'frames'}, the "
                f"longest {longest:g}; give longer clips, or cut all to a smaller number of seconds"
            )
    rows = np.flatnonzero(long)
    return _Cut(
        residuals.pick(rows),
        rows,
        length,
        names,
        place[rows],
        None if sources is None else tuple(sources[int(row)] for row in rows),
        tuple(int((~long & (place == at)).sum()) for at in range(len(names))),
    )


def _check_support(seen: NDArray[np.bool_], settings: DomainSettings) -> None:
    if not seen.any():
        raise SteeringError(
            f"no feature fires on {settings.min_frames} frames and in {settings.min_clips} clips of those that are "
            "long enough; give more audio, or ask for less support"
        )


def _short(cut: _Cut) -> Iterator[str]:
    """Warnings of clips that are left out."""
    if sum(cut.left_out):
        told = ", ".join(f"{count} of {name}" for name, count in zip(cut.names, cut.left_out, strict=True) if count)
        yield f"clips shorter than the common length are left out: {told}"


def _parts(cut: _Cut, settings: DomainSettings) -> tuple[Parts | None, tuple[str, ...]]:
    """Parts in which each domain is, with warnings; None where there are none."""
    clips = cut.residuals
    try:
        if clips.excerpts is not None:
            parts = parts_of(clips.excerpts, seed=settings.seed)
        else:
            parts = split_parts(clips.groups, clips.labels, seed=settings.seed)
    except SteeringError as error:
        return None, (f"no assignment is tried on clips of its own: {error}",)
    return parts, parts.warnings


def _facts(cut: _Cut, counted: Tally) -> tuple[DomainFacts, ...]:
    groups = np.array(cut.residuals.groups)
    found = []
    for at, (name, left_out) in enumerate(zip(cut.names, cut.left_out, strict=True)):
        rows = np.flatnonzero(cut.place == at)
        sources = () if cut.sources is None else tuple(sorted({cut.sources[row] for row in rows}))
        pieces = int(counted.count[rows].sum())
        found.append(DomainFacts(name, len(rows), left_out, len(set(groups[rows])), pieces, sources))
    return tuple(found)


def _assigned(
    counted: Tally,
    cut: _Cut,
    rules: Sequence[Rule],
    settings: DomainSettings,
    progress: Tell | None = None,
    *,
    all_subsets: bool = False,
) -> tuple[Assigned, ...]:
    """Numbers of features by rule with their null: of all domains, and of each pair and triple of them."""
    size = len(cut.names)
    subsets = [tuple(range(size))]
    if all_subsets:
        subsets += [each for n in (2, 3) if n < size for each in combinations(range(size), n)]
    cells = [(subset, rule) for subset in subsets for rule in rules]

    def counted_by(place: NDArray[np.int64]) -> NDArray[np.int64]:
        found = counted.frequencies(weights_of(place, size))
        return np.stack([counts(assigned(found, rule, subset), size) for subset, rule in cells])

    here = counted_by(cut.place)
    rng = np.random.default_rng(settings.seed)
    null = np.empty((settings.permutations, *here.shape))
    for number in range(settings.permutations):
        if progress is not None:
            progress("permuting domains", number, settings.permutations)
        null[number] = counted_by(permuted_labels(cut.place, cut.residuals.groups, rng))
    if progress is not None:
        progress("permuting domains", settings.permutations, settings.permutations)
    intervals = interval_of_totals(counted, cut.place, cut.residuals.groups, rules, settings) if all_subsets else {}
    totals = null.sum(2)
    p = p_value(here.sum(1), totals)
    return tuple(
        Assigned(
            tuple(cut.names[at] for at in subset),
            rule,
            tuple(int(here[i, at]) for at in subset),
            tuple(finite(null[:, i, at].mean(), 6) for at in subset),
            finite(totals[:, i].std(), 6),
            finite(p[i], 6),
            intervals.get(rule) if len(subset) == size else None,
        )
        for i, (subset, rule) in enumerate(cells)
    )


def _control(
    name: str, sae: SAE, cut: _Cut, rules: Sequence[Rule], settings: DomainSettings, progress: Tell | None
) -> ControlDomains:
    """A control in the SAE's place, with a null of its own."""
    made: Dictionary = control(name, sae, cut.residuals, seed=settings.seed)
    whole = tally(cut.residuals, made, cut.length, what=f"counting features of {name}", progress=progress)
    seen = whole.seen().mask(settings.min_frames, settings.min_clips)
    return ControlDomains(name, made.n_features, int(seen.sum()), _assigned(whole.of(seen), cut, rules, settings))


def _columns(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[tuple[float, ...] | None, ...]:
    """A tuple over domains for each feature; None of one that is unseen."""
    return tuple(
        tuple(finite(value, 6) for value in column) if flag else None
        for column, flag in zip(values.T, seen, strict=True)
    )


def _row(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[float | None, ...]:
    return tuple(rounded(value, 6) if flag else None for value, flag in zip(values, seen, strict=True))
