"""Comparison of two SAEs, or of two sets of patterns, feature by feature: fills a `Coverage`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import Dictionary, Patterns, patterns_of
from ..frame.control_dictionaries import control
from ..frame.intervals import Interval, group_counts, interval_of
from ..frame.nulls import p_value
from ..frame.parts import split_parts
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance, rounded
from ..frame.residual_clips import Residuals
from .coverage import Coverage
from .coverage_examples import examples_of
from .coverage_records import ControlCoverage, DecoderMatch, DensityRow, HeldOut, Side, StabilitySettings
from .overlap import Overlap, decoder_cosines, group_counts_of, leading_pairs, one_to_one, overlaps

Flags = NDArray[np.bool_]
EDGES = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0)
"""Bounds of the ranges of density."""
FAR = 0.03
"""Share by which two models' numbers of frames may differ."""


class _Shares(NamedTuple):
    """Both directions of one comparison."""

    forward: Flags
    """(F_a,) covered."""
    back: Flags
    """(F_b,) covered."""
    assigned: NDArray[np.int64]
    """(F_a,) partner one to one."""
    duplicates: tuple[int, int]
    """Of A and of B."""


@dataclass(frozen=True)
class _Compared:
    """Patterns of the same frames, and the features that are seen in them."""

    a: Patterns
    b: Patterns
    seen_a: Flags
    seen_b: Flags
    settings: StabilitySettings
    offset: float
    warnings: tuple[str, ...] = ()

    def overlap(self, b: Patterns) -> Overlap:
        return overlaps(self.a, b, self.seen_a, self.seen_b, floor=self.settings.theta / 2)

    def shares(self, found: Overlap, a: Patterns, b: Patterns) -> _Shares:
        """Coverage by a comparison, and duplicates as the overlap of A with `a` and of B with `b`."""
        theta = self.settings.theta
        own = overlaps(self.a, a, self.seen_a, self.seen_a, floor=theta, others=True)
        theirs = overlaps(self.b, b, self.seen_b, self.seen_b, floor=theta, others=True)
        return _Shares(
            found.chi > theta,
            found.back > theta,
            one_to_one(found, theta, self.a.n_features),
            (int((own.chi > theta).sum()), int((theirs.chi > theta).sum())),
        )


def stability(
    sae_a: SAE,
    sae_b: Dictionary | None,
    residuals: Residuals,
    residuals_b: Residuals | None = None,
    *,
    settings: StabilitySettings | None = None,
    progress: Tell | None = None,
) -> Coverage:
    """Compare the features of two SAEs by the frames on which they fire.

    AudioSAE (arXiv 2602.05027) compares SAEs of two seeds, layers and models so. Frames of padding are left out.

    Args:
        sae_a: the SAE whose features are asked for.
        sae_b: the SAE, of another seed, layer or model, in which they are looked for; None takes A's `random` control.
        residuals: clips at A's site; see `read_residuals`.
        residuals_b: the same clips at B's site, of another layer or model; None: at the same site.
        settings: bounds, support, shifts, controls and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: an SAE does not fit its residuals.
        SteeringError: no feature has support, or the clips are not the same.
        MissingExtraError: scipy is not installed.
    """
    settings = settings or StabilitySettings()
    there = residuals if residuals_b is None else residuals_b
    if (residuals.groups, residuals.labels) != (there.groups, there.labels):
        raise SteeringError("both SAEs have to be read on the same clips in the same order; these differ in them")
    other = sae_b if sae_b is not None else control("random", sae_a, residuals, seed=settings.seed)
    a = patterns_of(residuals, sae_a, what="encoding by A", progress=progress)
    b = patterns_of(there, other, what="encoding by B", progress=progress)
    found = compare_patterns(a, b, settings=settings, progress=progress)
    controls = [
        ControlCoverage(name, control_side(a, other, there, name, settings, progress))
        for name in settings.controls
        if isinstance(other, SAE)
    ]
    example_at = examples_of(found, a, b, residuals)
    decoder = _decoders(found, sae_a, other, settings) if residuals_b is None and isinstance(other, SAE) else None
    sites = [SiteFacts.of(each) for each in (residuals, there)[: 1 if residuals_b is None else 2]]
    facts = [SAEFacts.of(sae_a, a.l0), SAEFacts.of(other, b.l0)]
    origin = provenance(
        sites=sites, saes=facts, settings=settings, seed=settings.seed, warnings=found.provenance.warnings
    )
    return replace(found, decoder=decoder, controls=tuple(controls), examples=example_at, provenance=origin)


def compare_patterns(
    a: Patterns, b: Patterns, *, settings: StabilitySettings | None = None, progress: Tell | None = None
) -> Coverage:
    """Compare two sets of patterns of the same clips: a `Coverage` without decoders, controls and examples.

    Args:
        a: patterns of A.
        b: patterns of B; of another frame rate, both are brought to the lower one, a frame firing if any of its
            frames does.
        settings: bounds, support, shifts and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SteeringError: no feature has support, or the clips are not the same.
    """
    settings = settings or StabilitySettings()
    compared = _prepared(a, b, settings)
    a, b = compared.a, compared.b
    found = compared.overlap(b)
    shares = compared.shares(found, a, b)
    nulls, warnings = _nulls(compared, progress)
    forward, back = _sides(compared, shares, nulls)
    null_shares = [float(each.forward.sum() / forward.seen) for each in nulls]
    seen = compared.seen_a
    return Coverage(
        provenance=provenance(settings=settings, seed=settings.seed, warnings=(*compared.warnings, *warnings)),
        side=forward,
        interval=_interval(compared, found, forward.seen),
        p=finite(p_value(forward.share, null_shares)),
        null_shares=tuple(finite(each) for each in null_shares),
        back=back,
        one_to_one=finite((shares.assigned >= 0).sum() / forward.seen),
        null_one_to_one=finite(np.mean([(each.assigned >= 0).sum() / forward.seen for each in nulls])),
        held_out=_held_out(compared),
        by_density=_by_density(compared, shares, nulls),
        decoder=None,
        controls=(),
        offset=finite(compared.offset),
        partners=tuple(int(each) if each >= 0 else None for each in found.partner),
        chi=tuple(rounded(each) if flag else None for each, flag in zip(found.chi, seen, strict=True)),
        assigned=tuple(int(each) if each >= 0 else None for each in shares.assigned),
    )


def control_side(
    a: Patterns,
    sae: SAE,
    residuals: Residuals,
    name: str,
    settings: StabilitySettings,
    progress: Tell | None = None,
) -> Side:
    """Coverage of A by a control of an SAE on the same clips.

    Raises:
        SteeringError: there is no such control, or no feature has support.
    """
    made = control(name, sae, residuals, seed=settings.seed + 1)
    b = patterns_of(residuals, made, what=f"encoding by {name}", progress=progress)
    compared = _prepared(a, b, settings)
    shares = compared.shares(compared.overlap(compared.b), compared.a, compared.b)
    nulls, _ = _nulls(compared, None)
    return _sides(compared, shares, nulls)[0]._replace(
        duplicates=shares.duplicates[1], null_duplicates=finite(np.mean([each.duplicates[1] for each in nulls]))
    )


def _prepared(a: Patterns, b: Patterns, settings: StabilitySettings) -> _Compared:
    """The patterns on the same frames, and the features with support there."""
    if len(a.starts) != len(b.starts) or a.groups != b.groups:
        raise SteeringError(
            f"A has {len(a.starts) - 1} clips and B {len(b.starts) - 1}: both are to be of the same clips in one order"
        )
    if settings.shifts < 1:
        raise SteeringError(f"shifts is {settings.shifts}; the null takes at least one")
    rates = (a.rate, b.rate)
    if a.rate != b.rate and a.rate is not None and b.rate is not None:
        low = min(a.rate, b.rate)
        a, b = (each if each.rate == low else each.at_rate(low) for each in (a, b))
    lengths_a, lengths_b = np.diff(a.starts), np.diff(b.starts)
    off = np.abs(lengths_a - lengths_b)
    if (off > np.maximum(FAR * np.maximum(lengths_a, lengths_b), 3)).any():
        clip = int(off.argmax())
        raise SteeringError(
            f"clip {clip} has {lengths_a[clip]} frames in A and {lengths_b[clip]} in B, at {rates[0]} and {rates[1]} "
            "frames/s: they are not of the same sound, or a rate is wrong"
        )
    common = np.minimum(lengths_a, lengths_b)
    a, b = _cut(a, common), _cut(b, common)
    seen = [each.seen().mask(settings.min_frames, settings.min_clips) for each in (a, b)]
    for name, flags in zip("AB", seen, strict=True):
        if not flags.any():
            raise SteeringError(
                f"no feature of {name} fires on {settings.min_frames} frames and in {settings.min_clips} clips of "
                f"these {a.frames} frames in {len(common)} clips; give more audio, or ask for less support"
            )
    warnings = []
    if off.any():
        warnings.append(
            f"B has {float((lengths_b - lengths_a).mean()):+.3g} frames more per clip than A on average; clips were cut"
        )
    if rates[0] != rates[1]:
        warnings.append(f"A has {rates[0]} and B {rates[1]} frames/s: both were brought to the lower rate")
    return _Compared(a, b, seen[0], seen[1], settings, float((lengths_b - lengths_a).mean()), tuple(warnings))


def _cut(patterns: Patterns, lengths: NDArray[np.int64]) -> Patterns:
    if (np.diff(patterns.starts) == lengths).all():
        return patterns
    rows = np.concatenate([first + np.arange(n) for first, n in zip(patterns.starts[:-1], lengths, strict=True)])
    return replace(patterns, active=patterns.active[rows], starts=np.cumsum([0, *lengths]))


def _nulls(compared: _Compared, progress: Tell | None) -> tuple[list[_Shares], tuple[str, ...]]:
    """Coverage after circular shifts of B within each clip, and of duplicates after those of either."""
    rng = np.random.default_rng(compared.settings.seed)
    found: list[_Shares] = []
    short = 0
    for number in range(compared.settings.shifts):
        if progress is not None:
            progress("shifting in time", number, compared.settings.shifts)
        a, _ = compared.a.shifted(rng)
        b, short = compared.b.shifted(rng)
        found.append(compared.shares(compared.overlap(b), a, b))
    if progress is not None:
        progress("shifting in time", compared.settings.shifts, compared.settings.shifts)
    words = f"{short} of {len(compared.a.starts) - 1} clips are too short for a shift of 1 s; they shift by their half"
    return found, (words,) if short else ()


def _sides(compared: _Compared, shares: _Shares, nulls: list[_Shares]) -> tuple[Side, Side]:
    sides = []
    for at, (flags, seen) in enumerate(((shares.forward, compared.seen_a), (shares.back, compared.seen_b))):
        count, covered = int(seen.sum()), int(flags.sum())
        null = np.mean([(each.forward, each.back)[at].sum() / count for each in nulls])
        sides.append(
            Side(
                len(seen), count, covered, finite(covered / count), finite(null), shares.duplicates[at],
                finite(np.mean([each.duplicates[at] for each in nulls])),
            )
        )  # fmt: skip
    return sides[0], sides[1]


def _interval(compared: _Compared, found: Overlap, seen: int) -> Interval | None:
    """Interval of the share over draws of groups, from the candidates with more than half of the bound."""
    groups = len(set(compared.a.groups))
    if groups < 2:
        return None
    pairs = found.pairs[leading_pairs(found)]
    if not len(pairs):
        return Interval(0.0, 0.0)
    counts = group_counts_of(compared.a, compared.b, pairs)
    starts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    drawn = group_counts(groups, draws=compared.settings.draws, seed=compared.settings.seed)
    shares = [
        (np.maximum.reduceat(counts.chi(block), starts, axis=1) > compared.settings.theta).sum(1) / seen
        for block in np.array_split(drawn, max(len(drawn) // 50, 1))
    ]
    found_interval = interval_of(np.concatenate(shares))
    return found_interval and Interval(finite(found_interval.low), finite(found_interval.high))


def _held_out(compared: _Compared) -> HeldOut | None:
    """Partners chosen on one half of the groups, measured on the other."""
    if len(set(compared.a.groups)) < 2:
        return None
    settings = compared.settings
    parts = split_parts(compared.a.groups, seed=settings.seed)
    halves = [(compared.a.pick(rows), compared.b.pick(rows)) for rows in (parts.find, parts.report)]
    both = [[each.seen().mask(settings.min_frames, settings.min_clips) for each in half] for half in halves]
    seen_a = both[0][0] & both[1][0]
    found = overlaps(*halves[0], both[0][0], both[0][1], floor=settings.theta / 2)
    chosen = np.flatnonzero(seen_a & (found.chi > settings.theta))
    if not seen_a.any():
        return None
    pairs = np.stack([chosen, found.partner[chosen]], 1)
    ones = np.ones((1, len(set(halves[1][0].groups))))

    def share(b: Patterns) -> float:
        chi = group_counts_of(halves[1][0], b, pairs).chi(ones)
        return float((chi > settings.theta).sum() / seen_a.sum())

    seen, true = int(seen_a.sum()), share(halves[1][1])
    rng = np.random.default_rng([settings.seed, 1])
    null = np.mean([share(halves[1][1].shifted(rng)[0]) for _ in range(settings.shifts)])
    return HeldOut(seen, round(true * seen), finite(true), finite(null))


def _by_density(compared: _Compared, shares: _Shares, nulls: list[_Shares]) -> tuple[DensityRow, ...]:
    density = compared.a.seen().frames / compared.a.frames
    rows = []
    for low, high in pairwise(EDGES):
        own = compared.seen_a & (density > low) & (density <= high)
        count = int(own.sum())
        null = float(np.mean([each.forward[own].sum() / count for each in nulls])) if count else 0.0
        rows.append(DensityRow(low, high, count, int(shares.forward[own].sum()), finite(null)))
    return tuple(rows)


def _decoders(found: Coverage, a: SAE, b: SAE, settings: StabilitySettings) -> DecoderMatch:
    """Second opinion, by decoder rows of the features of A that are seen."""
    seen = np.array([chi is not None for chi in found.chi])
    left, right = (each.W_dec.float().cpu().numpy() for each in (a, b))
    best, partner = decoder_cosines(left, right, seen, np.ones(len(right), bool))
    shuffled = np.random.default_rng(settings.seed).permuted(right, axis=1)
    null, _ = decoder_cosines(left, shuffled, seen, np.ones(len(right), bool))
    matched = best > settings.cosine
    both = [i for i in np.flatnonzero(matched) if (found.chi[i] or 0) > settings.theta]
    agree = finite(np.mean([found.partners[i] == partner[i] for i in both])) if both else None
    return DecoderMatch(finite(matched.sum() / seen.sum()), finite((null > settings.cosine).sum() / seen.sum()), agree)
