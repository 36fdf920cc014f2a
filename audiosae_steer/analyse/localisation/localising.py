"""Patching of layers between clips of two labels: fills a `Localisation`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.audio import Samples
from ...errors import SiteError, SteeringError
from ...io.progress import Tell
from ...models.registry import family_of, fingerprint, unwrap
from ..frame.excerpts import Excerpts
from ..frame.intervals import Interval, few_groups, interval_of
from ..frame.parts import UNGROUPED, Parts, split_parts
from ..frame.provenance import SiteFacts, finite, provenance
from ..probes.class_probes import Scaling, accuracies, clip_weights, middle
from .localisation_records import LayerMove, LocaliseSettings
from .localisation_result import Localisation
from .patching import ModelRunner, Runner, States

Matrix = NDArray[np.float64]


class LabelledClips(NamedTuple):
    """Clips of two labels."""

    samples: tuple[Samples, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    rate: int = 16_000
    """Hz."""
    warnings: tuple[str, ...] = ()
    site: SiteFacts | None = None
    """Origin, for the result."""


def localise(
    model: Any,
    excerpts: Excerpts,
    base: str,
    source: str,
    layers: Sequence[int],
    *,
    read: int,
    settings: LocaliseSettings | None = None,
    progress: Tell | None = None,
) -> Localisation:
    """Patch layers of clips labelled `base` with those of clips labelled `source`, and see the property move.

    Do so before steering, to choose the layer. Pairs are cut to the shorter clip.

    Args:
        model: a model of a known family that reads audio, not steered.
        excerpts: labelled clips of at most one window each; see `excerpts_from_csv`.
        base: label of the clips that are patched.
        source: label of those that the patch is of.
        layers: encoder layers to patch, counted from 1, each below `read` or equal to it.
        read: layer at which a probe reads the property.
        settings: kind of patch, stretch, pairs and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the model has no such layer.
        SteeringError: there are no clips of a label, or groups cannot be split.
        AudioError: a clip cannot be read.
        MissingExtraError: scikit-learn is not installed.
    """
    inner = unwrap(model)
    rate = family_of(inner).sample_rate(inner)
    chosen = [item for item in excerpts.items if item.label in (base, source)]
    groups = tuple(item.group for item in chosen)
    facts = SiteFacts(
        model=family_of(inner).name, fingerprint=fingerprint(inner), site=f"encoder layer {read}",
        data=excerpts.digest(), clips=len(chosen), frames=0, groups=len(set(groups)), rate=None,
    )  # fmt: skip
    clips = LabelledClips(
        tuple(item.read(rate) for item in chosen), tuple(str(item.label) for item in chosen), groups, rate,
        () if excerpts.grouped else (UNGROUPED,), facts,
    )  # fmt: skip
    runner = ModelRunner(inner)
    return localise_runs(runner, clips, base, source, layers, read=read, settings=settings, progress=progress)


def localise_runs(
    runner: Runner,
    clips: LabelledClips,
    base: str,
    source: str,
    layers: Sequence[int],
    *,
    read: int,
    settings: LocaliseSettings | None = None,
    progress: Tell | None = None,
) -> Localisation:
    """The same by anything that runs clips; see `localise`."""
    settings = settings or LocaliseSettings()
    wanted = tuple(sorted(set(layers)))
    if not wanted or wanted[0] < 1 or wanted[-1] > read:
        raise SiteError(f"layers {list(wanted)} cannot be patched for a reading at {read}; give some from 1 to {read}")
    known = set(clips.labels)
    if base == source or not {base, source} <= known:
        raise SteeringError(
            f"labels {base!r} and {source!r} of {sorted(known)}: give two different ones that clips have"
        )
    parts = split_parts(clips.groups, clips.labels, share=settings.share, seed=settings.seed)
    below = {layer - 1 for layer in wanted} if settings.patch == "update" else set()
    runs = _Runs(runner, clips, sorted({*wanted, *below, read}), read, progress)
    kinds = np.array([int(label == source) for label in clips.labels])
    probe = _Probe(runs, parts, kinds, settings)
    pairs = _pairs(clips, parts, base, source, settings)
    shifts = []
    for number, pair in enumerate(pairs):
        if progress is not None:
            progress("patching", number, len(pairs))
        shifts.append(_shifts(runs, probe, pair, wanted, settings))
    table = np.array(shifts)
    groups = [clips.groups[pair[0]] for pair in pairs]
    weights = clip_weights(groups, settings.draws, settings.seed)
    return Localisation(
        provenance=provenance(
            sites=[clips.site] if clips.site else (), settings=settings, seed=settings.seed,
            warnings=(*clips.warnings, *_cautions(groups, probe)),
        ),
        base=base, source=source, read=read, patch=settings.patch, pairs=len(pairs), groups=len(set(groups)),
        probe=probe.score, probe_interval=probe.interval,
        layers=tuple(_row(layer, table[:, i], weights) for i, layer in enumerate(wanted)),
    )  # fmt: skip


class _Runs:
    """Passes of clips as they are, each run once."""

    def __init__(
        self, runner: Runner, clips: LabelledClips, layers: list[int], read: int, progress: Tell | None
    ) -> None:
        self.runner, self.clips, self.layers, self.read, self.progress = runner, clips, layers, read, progress
        self.known: dict[tuple[int, int], States] = {}

    def of(self, clip: int, length: int | None = None) -> States:
        """States of a clip, cut to so many samples."""
        samples = self.clips.samples[clip][:length]
        key = (clip, len(samples))
        if key not in self.known:
            self.known[key] = self.runner.run(samples, self.layers)
        return self.known[key]

    def pooled(self, states: States) -> Matrix:
        """Mean frame (d_model,) where the probe reads."""
        found: Matrix = states.at[self.read][: states.sound].double().mean(0).numpy()
        return found


class _Probe:
    """Logistic regression at the layer that is read, fitted on one part, scored on the other."""

    def __init__(self, runs: _Runs, parts: Parts, kinds: Any, settings: LocaliseSettings) -> None:
        from ..frame.extra import import_extra

        pooled = []
        for clip in range(len(kinds)):
            if runs.progress is not None:
                runs.progress("running clips", clip, len(kinds))
            pooled.append(runs.pooled(runs.of(clip)))
        values = np.stack(pooled)
        self.scaling = Scaling.of(values[parts.find])
        self.model: Any = import_extra("sklearn.linear_model").LogisticRegression(
            C=settings.C, class_weight="balanced", max_iter=1000
        )
        self.model.fit(self.scaling.apply(values[parts.find]), kinds[parts.find])
        guessed, truth = (self.reading(values[parts.report]) > 0).astype(int), kinds[parts.report]
        self.score = finite(accuracies(guessed, truth, 2, np.ones((1, len(truth))))[0])
        weights = clip_weights([runs.clips.groups[i] for i in parts.report], settings.draws, settings.seed)
        self.interval = None if weights is None else middle(accuracies(guessed, truth, 2, weights))

    def reading(self, pooled: Matrix) -> Matrix:
        """Logit of the source's label (n,) of mean frames (n, d_model)."""
        found: Matrix = self.model.decision_function(self.scaling.apply(pooled))
        return found


def _pairs(
    clips: LabelledClips, parts: Parts, base: str, source: str, settings: LocaliseSettings
) -> list[tuple[int, int, int]]:
    """Base, source, and a source of the base's own label, from another group where there is one."""
    rng = np.random.default_rng(settings.seed)
    bases = [int(i) for i in rng.permutation(parts.report) if clips.labels[i] == base][: settings.pairs]
    sources = [int(i) for i in parts.report if clips.labels[i] == source]
    alike = [int(i) for i in parts.report if clips.labels[i] == base]
    if len(alike) < 2:
        raise SteeringError(f"there is one clip of {base!r} to report on, and the null takes two; give more")
    found = []
    for each in bases:
        others = [i for i in alike if clips.groups[i] != clips.groups[each]] or [i for i in alike if i != each]
        found.append((each, int(rng.choice(sources)), int(rng.choice(others))))
    return found


def _shifts(
    runs: _Runs, probe: _Probe, pair: tuple[int, int, int], layers: Sequence[int], settings: LocaliseSettings
) -> list[list[float]]:
    """For each layer: the reading's way to the source, its shift and that of the null, the flip, the output's share."""
    length = min(len(runs.clips.samples[i]) for i in pair)
    base, source, alike = (runs.of(i, length) for i in pair)
    before, after = (probe.reading(runs.pooled(each)[None])[0] for each in (base, source))
    way = runs.pooled(source) - runs.pooled(base)
    found = []
    for layer in layers:
        moved, null = (
            runs.pooled(_patched(runs, pair[0], length, layer, base, other, settings)) for other in (source, alike)
        )
        reading, same = (probe.reading(each[None])[0] for each in (moved, null))
        output = float((moved - runs.pooled(base)) @ way / max(float(way @ way), 1e-12))
        found.append([after - before, reading - before, same - before, float(reading > 0), output])
    return found


def _patched(
    runs: _Runs, clip: int, length: int, layer: int, base: States, other: States, settings: LocaliseSettings
) -> States:
    """The base's pass with one layer patched by another clip's."""
    new = other.at[layer]
    if settings.patch == "update":
        if layer - 1 not in base.at:
            raise SiteError(f"the input of layer {layer} is not known in this model; leave the layer out")
        new = base.at[layer - 1] + (other.at[layer] - other.at[layer - 1])
    mask = _stretch(base, length / runs.clips.rate, settings)
    return runs.runner.run(
        runs.clips.samples[clip][:length], runs.layers, (layer, torch.where(mask, new, base.at[layer]))
    )


def _stretch(base: States, seconds: float, settings: LocaliseSettings) -> Tensor:
    """Frames (frames, 1) to patch: all, padding too, or those centred within a stretch of the clip."""
    frames = len(next(iter(base.at.values())))
    times = (torch.arange(frames) + 0.5) * seconds / base.sound
    start = -1.0 if settings.start is None else settings.start
    end = float("inf") if settings.end is None else settings.end
    mask = (times >= start) & (times < end)
    if not mask[: base.sound].any():
        raise SteeringError(f"no frame of sound lies between {start:g} and {end:g} s; correct start and end")
    return mask[:, None]


def _row(layer: int, table: Matrix, weights: Matrix | None) -> LayerMove:
    """One layer from a table (pairs, 5); moves are ratios of means, since single ways may be near 0."""
    once = np.ones((1, len(table)))

    def ratio(column: Matrix, draws: Matrix) -> Matrix:
        way = draws @ table[:, 0]
        found: Matrix = (draws @ column) / np.where(np.abs(way) > 1e-12, way, np.nan)
        return found

    def interval(column: Matrix) -> Interval | None:
        found = None if weights is None else interval_of(ratio(column, weights))
        return None if found is None else Interval(float(f"{found.low:.10g}"), float(f"{found.high:.10g}"))

    move, null, excess = table[:, 1], table[:, 2], table[:, 1] - table[:, 2]
    values = [finite(ratio(each, once)[0]) for each in (move, null, excess)]
    return LayerMove(
        layer, values[0], interval(move), values[1], interval(null), values[2], interval(excess),
        finite(table[:, 3].mean()), finite(table[:, 4].mean()),
    )  # fmt: skip


def _cautions(groups: Sequence[str], probe: _Probe) -> list[str]:
    found = few_groups(len(set(groups)), "bases are")
    if probe.interval is not None and probe.interval.low <= 0.5:
        found.append("the probe cannot tell the labels where it reads: what moves is not the property")
    return found
