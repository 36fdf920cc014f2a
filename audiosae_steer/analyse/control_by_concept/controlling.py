"""Edits by concept measured in the sound: fills a `ControlReport`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.intervals import Interval, few_groups, group_counts, interval_of
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance, rounded
from ..frame.residual_clips import Residuals
from ..properties_of_frames.property_maps import PropertyMap
from .control_arms import Aim
from .control_bench import Bench, Heard, bench_of, kinds_of
from .control_records import ControlPoint, ControlSettings, Shift
from .control_reports import ControlReport
from .latent_sounds import Decoder

ARMS = ("edit", "random", "means", "dsp")


def control_report(
    mapped: PropertyMap,
    sae: SAE,
    residuals: Residuals,
    name: str,
    target: float,
    *,
    decoder: Decoder | None = None,
    settings: ControlSettings | None = None,
    progress: Tell | None = None,
) -> ControlReport:
    """Measure what an edit by concept does to the sound, over several amounts.

    Latents are edited by `PropertyMap.edit`, decoded, and their sound measured anew, never by the map of the edit.
    Beside it stand a random direction of the same norm, the difference of class means, and plain signal processing.

    Args:
        mapped: the map that the edit comes from, of other clips.
        sae: its SAE.
        residuals: clips of latents at the SAE's site, not those that the map was fitted on.
        name: property to move.
        target: value to move it to: a MIDI note, dB re the loud end of the map's clips, Hz.
        decoder: latents to sound, see `codec_decoder`; None: there is none, and the map itself is asked, which the
            report says.
        settings: amounts, kind of edit, engine and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the latents.
        SteeringError: the map is of another SAE, has no such class, or latents have no time.
        MissingExtraError: the pitch engine's package is not installed.
    """
    settings = settings or ControlSettings()
    bench, before = bench_of(mapped, sae, residuals, Aim(name, target), decoder, settings, progress)
    bins = mapped.of(name).bins
    kind = bins.class_at(target)
    ways = ARMS if decoder is not None else ARMS[:3]
    points = tuple(_point(bench, arm, alpha, before, kind) for arm in ways for alpha in settings.alphas)
    told = np.concatenate([kinds_of(each[name], bins.edges) for each in before])
    return ControlReport(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae)],
            settings=_plain(settings), seed=settings.seed,
            warnings=_cautions(bench),
        ),
        name=name, target=target, bins=bins, by_probe=decoder is None, clips=len(bench.latents),
        frames=sum(map(len, bench.latents)),
        at_target=finite((told == kind).sum() / max((told >= 0).sum(), 1), 7),
        points=points,
    )  # fmt: skip


def _plain(settings: ControlSettings) -> ControlSettings:
    """The settings with the engine's name in its place, as results keep them."""
    return settings if isinstance(settings.engine, str) else replace(settings, engine=settings.engine.name)


def _point(bench: Bench, arm: str, alpha: float, before: list[Heard], kind: int) -> ControlPoint:
    made = bench.make(arm, alpha, before)
    name, edges = bench.arms.aim.name, bench.arms.mapped.of(bench.arms.aim.name).bins.edges
    inside = [kinds_of(after[name], edges) == kind for after in made.heard]
    had = [~np.isnan(each[name]) for each in before]
    size, distance, unchanged = 0.0, None, 0.0
    if made.latents is not None:
        x, edited = torch.cat(bench.latents), torch.cat(made.latents)
        size = float((edited - x).norm(dim=-1).mean() / x.norm(dim=-1).mean().clamp(min=1e-12))
        distance = _distance(edited, bench.references)
        unchanged = float((edited == x).all(-1).double().mean())
    share, interval = _share(inside, had, bench)
    return ControlPoint(
        arm=arm, alpha=alpha, reached=share, reached_interval=interval,
        shifts=tuple(_shift(each, before, made.heard) for each in bench.names), size=finite(size, 7),
        distance=rounded(distance, 7), clipped=finite(made.clipped, 7), unchanged=finite(unchanged, 7),
    )  # fmt: skip


def _share(
    inside: list[NDArray[np.bool_]], had: list[NDArray[np.bool_]], bench: Bench
) -> tuple[float, Interval | None]:
    """Share of the frames in the class, and its interval over groups."""
    groups = [group for group, frames in zip(bench.residuals.groups, bench.residuals.frames, strict=True) if frames]
    names, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    hits = np.bincount(place.reshape(-1), [(a & b).sum() for a, b in zip(inside, had, strict=True)], len(names))
    total = np.bincount(place.reshape(-1), [b.sum() for b in had], len(names))
    share = finite(float(hits.sum() / max(total.sum(), 1)), 7)
    if len(names) < 2:
        return share, None
    drawn = group_counts(len(names), draws=bench.arms.settings.draws, seed=bench.arms.settings.seed)
    found = interval_of((drawn @ hits) / np.maximum(drawn @ total, 1))
    return share, None if found is None else Interval(finite(found.low, 7), finite(found.high, 7))


def _shift(name: str, before: list[Heard], after: list[Heard]) -> Shift:
    old, new = (np.concatenate([each[name] for each in heard]) for heard in (before, after))
    had = ~np.isnan(old)
    both = had & ~np.isnan(new)
    lost = finite(float((had & ~both).sum() / max(had.sum(), 1)), 7)
    if not both.any():
        return Shift(name, None, None, None, None, lost)
    change, spread = float((new - old)[both].mean()), float(old[had].std())
    first, second = (rounded(float(np.median(each[both])), 7) for each in (old, new))
    deviations = rounded(change / spread, 7) if spread > 0 else None
    return Shift(name, first, second, rounded(change, 7), deviations, lost)


def _distance(edited: Tensor, references: Tensor) -> float:
    """Mean squared distance to the nearest reference over the references' variance."""
    variance = float((references - references.mean(0)).square().sum(-1).mean())
    blocks = torch.split(edited.double(), 512)
    nearest = [torch.cdist(block, references.double()).amin(1).square() for block in blocks]
    return float(torch.cat(nearest).mean()) / max(variance, 1e-12)


def _cautions(bench: Bench) -> list[str]:
    found = []
    of = bench.arms.mapped.provenance.sites[:1]
    if of and of[0].data == bench.residuals.digest:
        found.append("the map was fitted on half of these very clips; give others")
    if of and None not in (of[0].site, bench.residuals.site) and of[0].site != bench.residuals.site:
        found.append(f"the map is of latents at {of[0].site}, and these are at {bench.residuals.site}")
    if bench.decoder is None:
        found.append(
            "by probe: there is no decoder, so that the map that makes the edit also judges it; it says nothing of the "
            "sound"
        )
    if bench.arms.means is None:
        found.append("no frame of these clips is in the target's class: there is no difference of means")
    return [*found, *few_groups(len(set(bench.residuals.groups)), "the clips are")]
