"""Emergence of properties along a trajectory: fills an `Emergence`."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import SiteError, SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.intervals import Interval, group_counts, group_rows, interval_of
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance
from .diffusion_emergence import Emergence
from .emergence_records import (
    EmergenceSettings,
    LeadPoint,
    PropertyCurve,
    PropertyEmergence,
    StepFit,
    StepPoint,
)
from .property_readers import PropertyReader
from .step_measures import ClipEnds, ClipSteps, Numbers, chance, checked, ends, measures
from .trajectories import Trajectory


class _Read(NamedTuple):
    """All clips, read."""

    steps: dict[tuple[str, str], list[ClipSteps]]
    """By property and reading, clip by clip."""
    ends: dict[str, list[ClipEnds]]
    classes: dict[str, int]


class _Groups(NamedTuple):
    """Groups of the clips, and draws of them."""

    rows: list[np.ndarray]
    draws: Numbers | None
    """(draws, groups); None of a single group."""
    frames: Numbers
    """(groups,)."""

    def sums(self, values: Numbers) -> Numbers:
        """Sums over clips (clips, n) by group (groups, n)."""
        return np.stack([values[rows].sum(0) for rows in self.rows])


def emergence(
    trajectory: Trajectory,
    sae: SAE | None,
    property_map: PropertyReader,
    *,
    settings: EmergenceSettings | None = None,
    progress: Tell | None = None,
) -> Emergence:
    """Measure when properties of the final latents show along a diffusion's steps.

    Learning interpretable features in audio latent spaces (arXiv 2510.23802) reads a probe on each state X_t so. Here
    the state stands beside the latents that the flow heads for, and beside a straight line to the end, which knows that
    end from the start.

    Args:
        trajectory: states of a batch of clips; see `Trajectory.of`.
        sae: the SAE behind the map, for its fit at each step and the result's origin; None: not looked at.
        property_map: gives probabilities of classes, such as a `LinearReader`.
        settings: quorum, bounds, permutations, draws and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE reads latents of another width.
        SteeringError: the map gives no probabilities of the right shape, or a setting is out of range.
    """
    settings = settings or EmergenceSettings()
    if not 0 < settings.quorum <= 1 or settings.term <= 0 or settings.draws < 1 or settings.permutations < 0:
        raise SteeringError(
            f"quorum {settings.quorum}, term {settings.term}, {settings.draws} draws and {settings.permutations} "
            "permutations cannot be used; expected 0 < quorum <= 1, term > 0, a draw at least and permutations from 0"
        )
    width = trajectory.states.shape[-1]
    if sae is not None and sae.d_model != width:
        raise SiteError(f"this SAE reads latents of width {sae.d_model}, and these are {width} wide; take another")
    read = _read(trajectory, property_map, settings, progress)
    groups = _grouped(trajectory, settings)
    found = tuple(_property(name, read, trajectory, groups, settings) for name in read.ends)
    fits, l0 = _fits(trajectory, sae, progress) if sae is not None else ((), None)
    return Emergence(
        provenance=provenance(
            sites=[_facts(trajectory)],
            saes=[] if sae is None else [SAEFacts.of(sae, l0)],
            settings=settings,
            seed=settings.seed,
            warnings=_warnings(trajectory, groups, found, settings),
        ),
        times=tuple(float(f"{t:.10g}") for t in trajectory.times),
        frames=tuple(int(n) for n in groups.frames),
        properties=found,
        fits=fits,
    )


def _read(trajectory: Trajectory, reader: PropertyReader, settings: EmergenceSettings, progress: Tell | None) -> _Read:
    """Measures of each clip, one after the other, so that one clip's probabilities are in memory."""
    found = _Read({}, {}, {})
    for number in range(len(trajectory)):
        if progress is not None:
            progress("reading properties", number, len(trajectory))
        first: dict[str, Tensor] = {}
        last: dict[str, Tensor] = {}
        for reading in trajectory.readings:
            x = trajectory.clip(number, reading)
            given = checked(reader.probabilities(x), (x.shape[0], x.shape[1]))
            if reading == "state":
                first, last = ({name: p[at] for name, p in given.items()} for at in (0, -1))
                for name in given:
                    found.ends.setdefault(name, []).append(ends(first[name], last[name], settings.term))
                    found.classes[name] = given[name].shape[2]
            for name, p in given.items():
                steps = measures(p, first[name], last[name], settings.term)
                found.steps.setdefault((name, reading), []).append(steps)
    if progress is not None:
        progress("reading properties", len(trajectory), len(trajectory))
    return found


def _grouped(trajectory: Trajectory, settings: EmergenceSettings) -> _Groups:
    rows = group_rows(trajectory.groups)
    drawn = group_counts(len(rows), draws=settings.draws, seed=settings.seed) if len(rows) > 1 else None
    frames = np.asarray(trajectory.frames, float)
    return _Groups(rows, drawn, np.array([frames[each].sum() for each in rows]))


def _property(
    name: str, read: _Read, trajectory: Trajectory, groups: _Groups, settings: EmergenceSettings
) -> PropertyEmergence:
    """All curves of one property."""
    own = read.ends[name]
    moved = groups.sums(np.array([[each.change] for each in own]))[:, 0]
    terms, cells = sum(each.terms for each in own), sum(each.cells for each in own)
    change = float(moved.sum() / groups.frames.sum())
    changes = change >= settings.unchanged
    others = len(trajectory) - 1
    shifts = np.random.default_rng([settings.seed, 1]).permutation(others)[: settings.permutations] + 1
    curves = {}
    ratios: dict[str, tuple[Numbers, Numbers]] = {}
    for reading in trajectory.readings:
        clips = read.steps[name, reading]
        agree, distance = (groups.sums(np.stack([getattr(each, key) for each in clips])) for key in _KEYS)
        paper = np.sum([each.paper for each in clips], axis=0) / terms if terms else None
        by_chance = chance([each.likeliest for each in clips], [int(each) for each in shifts])
        ratios[reading] = (agree, distance)
        points = tuple(
            StepPoint(
                step, float(f"{t:.10g}"), finite(agree[:, step].sum() / groups.frames.sum()),
                _interval(agree[:, step], groups.frames, groups),
                None if by_chance is None else finite(by_chance[step]),
                finite(1 - distance[:, step].sum() / moved.sum()) if changes else None,
                _interval(moved - distance[:, step], moved, groups) if changes else None,
                None if paper is None or not changes else finite(paper[step]),
            )
            for step, t in enumerate(trajectory.times)
        )  # fmt: skip
        counts = tuple(tuple(int(n) for n in agree[:, step]) for step in range(len(trajectory.times)))
        curves[reading] = PropertyCurve(reading, points, counts)
    lead = _lead(ratios, moved, changes, groups)
    return PropertyEmergence(
        name, read.classes[name], finite(change), changes, finite(terms / cells), tuple(curves.values()), lead
    )


_KEYS = ("agree", "distance")


def _lead(
    ratios: dict[str, tuple[Numbers, Numbers]], moved: Numbers, changes: bool, groups: _Groups
) -> tuple[LeadPoint, ...]:
    """State − line, of each clip's own line."""
    (agree, distance), (line_agree, line_distance) = ratios["state"], ratios["line"]
    found = []
    for step in range(agree.shape[1]):
        more = agree[:, step] - line_agree[:, step]
        nearer = line_distance[:, step] - distance[:, step]
        found.append(
            LeadPoint(
                step, finite(more.sum() / groups.frames.sum()), _interval(more, groups.frames, groups),
                finite(nearer.sum() / moved.sum()) if changes else None,
                _interval(nearer, moved, groups) if changes else None,
            )
        )  # fmt: skip
    return tuple(found)


def _interval(above: Numbers, below: Numbers, groups: _Groups) -> Interval | None:
    """Interval of a quotient of sums over groups; draws in which nothing changes are left out."""
    if groups.draws is None:
        return None
    bottom = groups.draws @ below
    found = interval_of((groups.draws @ above)[bottom > 0] / bottom[bottom > 0])
    return found and Interval(finite(found.low), finite(found.high))


def _fits(trajectory: Trajectory, sae: SAE, progress: Tell | None) -> tuple[tuple[StepFit, ...], float]:
    """Fraction of variance unexplained at each step by each reading, and features that fire on a final frame."""
    points, width = trajectory.states.shape[0], trajectory.states.shape[-1]
    readings = trajectory.readings
    missing, squares = (torch.zeros(len(readings), points, dtype=torch.float64) for _ in range(2))
    sums = torch.zeros(len(readings), points, width, dtype=torch.float64)
    fired = 0
    for number in range(len(trajectory)):
        if progress is not None:
            progress("fit of the SAE", number, len(trajectory))
        for row, reading in enumerate(readings):
            for step, x in enumerate(trajectory.clip(number, reading)):
                with torch.no_grad():
                    f = sae.encode(x)
                    missing[row, step] += (x.double() - sae.decode(f, like=x).double()).square().sum()
                squares[row, step] += x.double().square().sum()
                sums[row, step] += x.double().sum(0)
                fired += int((f > 0).sum()) if reading == "state" and step == points - 1 else 0
    if progress is not None:
        progress("fit of the SAE", len(trajectory), len(trajectory))
    frames = sum(trajectory.frames)
    fvu = dict(zip(readings, (missing / (squares - sums.square().sum(-1) / frames)).tolist(), strict=True))
    predicted = fvu.get("predicted")
    return tuple(
        StepFit(
            step, finite(fvu["state"][step]), None if predicted is None else finite(predicted[step]),
            finite(fvu["line"][step]),
        )
        for step in range(points)
    ), fired / frames  # fmt: skip


def _facts(trajectory: Trajectory) -> SiteFacts:
    return SiteFacts(
        model=None, fingerprint=None, site="latents" if trajectory.path else "residuals at each step",
        data=trajectory.digest(), clips=len(trajectory), frames=sum(trajectory.frames),
        groups=len(set(trajectory.groups)), rate=None,
    )  # fmt: skip


def _warnings(
    trajectory: Trajectory, groups: _Groups, found: tuple[PropertyEmergence, ...], settings: EmergenceSettings
) -> list[str]:
    said = []
    if groups.draws is None:
        said.append(
            "there is one prompt or song only: no interval can be had, so nothing counts as settled; sample several"
        )
    for each in found:
        if not each.changes:
            said.append(f"{each.name} never changes from noise to the final latents, so nothing is said of it")
        final = each.curve("state").points[-1].chance
        if each.changes and final is not None and final >= settings.quorum:
            said.append(
                f"{final:.0%} of the frames have the same {each.name} as other clips do: that it is settled says little"
            )
    steps = np.array([b - a for a, b in pairwise(trajectory.times)])
    if trajectory.path and trajectory.velocity is None and steps.max() > 2 * steps.min():
        said.append("the steps differ in length; predictions assume Euler's, whose velocity is the states' difference")
    return said
