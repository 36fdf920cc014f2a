"""Bench on which latents are edited in each way, and their sound is heard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.residual_clips import Residuals, check_fits
from ..properties_of_frames.frame_properties import FrameProperties, property_labels
from ..properties_of_frames.named_engines import pitch_engine
from ..properties_of_frames.pitch_engines import PitchEngine
from ..properties_of_frames.property_maps import PropertyMap
from .control_arms import Aim, Arms, means_of
from .control_records import ControlSettings
from .latent_sounds import Decoder
from .sound_effects import processed

Heard = dict[str, NDArray[np.float64]]
"""Value (frames,) of each property on its bins' axis, NaN where it is missing."""


class Made(NamedTuple):
    """Clips at one point of the sweep."""

    heard: list[Heard]
    latents: list[Tensor] | None
    """None of signal processing."""
    clipped: float
    """Share of the samples beyond full scale."""


@dataclass(frozen=True)
class Bench:
    """Everything that each point of the sweep needs."""

    arms: Arms
    residuals: Residuals
    latents: list[Tensor]
    decoder: Decoder | None
    engine: PitchEngine | None
    references: Tensor
    """Latents to find the nearest among."""
    progress: Tell | None

    @property
    def names(self) -> list[str]:
        """Properties, that of the aim first."""
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

    def make(self, arm: str, alpha: float, before: list[Heard]) -> Made:
        """All clips at one point."""
        heard, latents, clipped = [], [], []
        for number, x in enumerate(self.latents):
            if self.progress is not None:
                self.progress(f"{arm} at {alpha:g}", number, len(self.latents))
            if arm == "dsp" and self.decoder is not None:
                own, over = self.hear(x, self.processed(x, before[number], alpha))
            else:
                latents.append(self.arms.edited(arm, alpha, x))
                own, over = self.hear(latents[-1])
            heard.append(own)
            clipped.append(over)
        if self.progress is not None:
            self.progress(f"{arm} at {alpha:g}", len(self.latents), len(self.latents))
        return Made(heard, latents or None, float(np.mean(clipped)))

    def processed(self, x: Tensor, before: Heard, alpha: float) -> NDArray[np.float64]:
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


def bench_of(
    mapped: PropertyMap, sae: SAE, residuals: Residuals, aim: Aim, decoder: Decoder | None, settings: ControlSettings,
    progress: Tell | None = None,
) -> tuple[Bench, list[Heard]]:  # fmt: skip
    """A bench, and what is heard of the unedited clips.

    Raises:
        SiteError: the SAE does not fit the latents.
        SteeringError: the map is of another SAE, has no such class, or latents have no time.
        MissingExtraError: the pitch engine's package is not installed.
    """
    check_fits(sae, residuals)
    check_map(mapped, sae)
    if residuals.rate is None:
        raise SteeringError("these latents have no time, so that their sound has no frames")
    bins = mapped.of(aim.name).bins
    kind = bins.class_at(aim.target)
    mapped.edit(aim.name, aim.target, 0.0)  # refuses a class that the map lacks
    latents, engine = [x for x in residuals if len(x)], None if decoder is None else pitch_engine(settings.engine)
    arms = Arms(mapped, sae, aim, settings, None, residuals.rate)
    drawn = torch.cat(latents)
    order = torch.from_numpy(np.random.default_rng(settings.seed).permutation(len(drawn))[: settings.references])
    bench = Bench(arms, residuals, latents, decoder, engine, drawn[order], progress)
    before = [bench.hear(x)[0] for x in latents]
    kinds = [kinds_of(each[aim.name], bins.edges) for each in before]
    return replace(bench, arms=replace(arms, means=means_of(latents, kinds, kind))), before


def check_map(mapped: PropertyMap, sae: SAE) -> None:
    """Refuse a map of another SAE. SteeringError: it is."""
    known = mapped.provenance.saes[0].sha256 if mapped.provenance.saes else None
    if known is not None and known != sae.digest():
        raise SteeringError(
            f"this map is of the SAE {known[:12]}, and the one given is {sae.digest()[:12]}: its features mean other "
            "things; make a map with `audiosae-steer analyse properties`"
        )


def kinds_of(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Class (frames,) of values on the bins' axis, −1 where one is missing."""
    found = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.where(np.isnan(values), -1, found)
