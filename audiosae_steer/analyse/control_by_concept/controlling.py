"""Edits by concept measured in the sound: fills a `ControlReport`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.intervals import Interval, few_groups, group_counts, interval_of
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance, rounded
from ..frame.residual_clips import Residuals, check_fits
from ..properties_of_frames.frame_properties import FrameProperties, property_labels
from ..properties_of_frames.named_engines import pitch_engine
from ..properties_of_frames.pitch_engines import PitchEngine
from ..properties_of_frames.property_maps import PropertyMap
from .control_arms import Aim, Arms, means_of
from .control_records import ControlPoint, ControlSettings, Shift
from .control_reports import ControlReport
from .latent_sounds import Decoder
from .sound_effects import processed

ARMS = ("edit", "random", "means", "dsp")
Heard = dict[str, NDArray[np.float64]]
"""Value (frames,) of each property on its bins' axis, NaN where it is missing."""


class _Made(NamedTuple):
    """Clips at one point of the sweep."""

    heard: list[Heard]
    latents: list[Tensor] | None
    clipped: float


@dataclass(frozen=True)
class _Bench:
    """Everything that each point of the sweep needs."""

    arms: Arms
    residuals: Residuals
    latents: list[Tensor]
    decoder: Decoder | None
    engine: PitchEngine | None
    references: Tensor
    progress: Tell | None

    @property
    def names(self) -> list[str]:
        first = self.arms.aim.name
        return [first, *(each.name for each in self.arms.mapped.properties if each.name != first)]

    def hear(self, x: Tensor, samples: NDArray[Any] | None = None) -> tuple[Heard, float]:
        """Properties of latents' sound, and the share of samples beyond full scale; by the map without a decoder."""
        mapped = self.arms.mapped
        if self.decoder is None:
            with torch.no_grad():
                f = self.arms.sae.encode(x).double().cpu().numpy()
            values = {name: mapped.value(name, f) for name in self.names}
            told = mapped.told(self.arms.aim.name, f)
            bins = mapped.of(self.arms.aim.name).bins
            edges = np.asarray(bins.edges)
            values[self.arms.aim.name] = ((edges[:-1] + edges[1:]) / 2)[np.minimum(told, len(edges) - 2)]
            return values, 0.0
        sound = self.decoder.decode(x) if samples is None else samples
        found: FrameProperties = property_labels(
            sound, self.decoder.rate, self.arms.rate, len(x), engine=self.engine or "swift"
        )
        return {name: mapped.of(name).bins.values(found) for name in self.names}, float((np.abs(sound) > 1).mean())

    def make(self, arm: str, alpha: float, before: list[Heard]) -> _Made:
        """All clips at one point."""
        heard, latents, clipped = [], [], []
        for number, x in enumerate(self.latents):
            if self.progress is not None:
                self.progress(f"{arm} at {alpha:g}", number, len(self.latents))
            if arm == "dsp" and self.decoder is not None:
                own, over = self.hear(x, self._processed(x, before[number], alpha))
            else:
                latents.append(self.arms.edited(arm, alpha, x))
                own, over = self.hear(latents[-1])
            heard.append(own)
            clipped.append(over)
        if self.progress is not None:
            self.progress(f"{arm} at {alpha:g}", len(self.latents), len(self.latents))
        return _Made(heard, latents or None, float(np.mean(clipped)))

    def _processed(self, x: Tensor, before: Heard, alpha: float) -> NDArray[np.float64]:
        """The unedited sound, moved all the way from its median to the target at the largest amount, and in proportion
        below it."""
        if self.decoder is None:
            raise SteeringError("signal processing needs a sound")
        name, bins = self.arms.aim.name, self.arms.mapped.of(self.arms.aim.name).bins
        middle = bins.edges[bins.class_at(self.arms.aim.target) :][:2]
        values = before[name]
        known = values[~np.isnan(values)]
        by = (float(np.mean(middle)) - float(np.median(known))) if len(known) else 0.0
        most = max(abs(each) for each in self.arms.settings.alphas) or 1.0
        if bins.linear and name != "pitch":
            start = max(float(np.median(known)), 1e-6) if len(known) else 1.0
            by = np.log2(max(float(np.mean(middle)), 1e-6) / start) * (20 * np.log10(2) if name == "loudness" else 1)
        return processed(name, self.decoder.decode(x), self.decoder.rate, float(by) * alpha / most)


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
    check_fits(sae, residuals)
    check_map(mapped, sae)
    rate = _rate(residuals)
    bins = mapped.of(name).bins
    kind = bins.class_at(target)
    mapped.edit(name, target, 0.0)  # refuses a class that the map lacks
    latents, engine = [x for x in residuals if len(x)], None if decoder is None else pitch_engine(settings.engine)
    arms = Arms(mapped, sae, Aim(name, target), settings, None, rate)
    drawn = torch.cat(latents)
    order = torch.from_numpy(np.random.default_rng(settings.seed).permutation(len(drawn))[: settings.references])
    bench = _Bench(arms, residuals, latents, decoder, engine, drawn[order], progress)
    before = [bench.hear(x)[0] for x in latents]
    kinds = [_kinds(each[name], bins.edges) for each in before]
    bench = replace(bench, arms=replace(arms, means=means_of(latents, kinds, kind)))
    ways = ARMS if decoder is not None else ARMS[:3]
    points = tuple(_point(bench, arm, alpha, before, kind) for arm in ways for alpha in settings.alphas)
    told = np.concatenate(kinds)
    return ControlReport(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae)],
            settings=_plain(settings), seed=settings.seed,
            warnings=_cautions(bench),
        ),
        name=name, target=target, bins=bins, by_probe=decoder is None, clips=len(latents), frames=len(drawn),
        at_target=finite((told == kind).sum() / max((told >= 0).sum(), 1), 7),
        points=points,
    )  # fmt: skip


def _rate(residuals: Residuals) -> float:
    if residuals.rate is None:
        raise SteeringError("these latents have no time, so that their sound has no frames")
    return residuals.rate


def _plain(settings: ControlSettings) -> ControlSettings:
    """The settings with the engine's name in its place, as results keep them."""
    return settings if isinstance(settings.engine, str) else replace(settings, engine=settings.engine.name)


def check_map(mapped: PropertyMap, sae: SAE) -> None:
    """Refuse a map of another SAE. SteeringError: it is."""
    known = mapped.provenance.saes[0].sha256 if mapped.provenance.saes else None
    if known is not None and known != sae.digest():
        raise SteeringError(
            f"this map is of the SAE {known[:12]}, and the one given is {sae.digest()[:12]}: its features mean other "
            "things; make a map with `audiosae-steer analyse properties`"
        )


def _kinds(values: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64]:
    found = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.where(np.isnan(values), -1, found)


def _point(bench: _Bench, arm: str, alpha: float, before: list[Heard], kind: int) -> ControlPoint:
    made = bench.make(arm, alpha, before)
    name, edges = bench.arms.aim.name, bench.arms.mapped.of(bench.arms.aim.name).bins.edges
    inside = [_kinds(after[name], edges) == kind for after in made.heard]
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
    inside: list[NDArray[np.bool_]], had: list[NDArray[np.bool_]], bench: _Bench
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


def _cautions(bench: _Bench) -> list[str]:
    found = []
    if bench.decoder is None:
        found.append(
            "by probe: there is no decoder, so that the map that makes the edit also judges it; it says nothing of the "
            "sound"
        )
    if bench.arms.means is None:
        found.append("no frame of these clips is in the target's class: there is no difference of means")
    return [*found, *few_groups(len(set(bench.residuals.groups)), "the clips are")]
