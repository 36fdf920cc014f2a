"""Residual frames of one shard's windows: in batches of 30 s for a Whisper, clip by clip for other models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import SteeringError
from ...models.registry import family_of
from ...models.sites import Site
from ..audio import SAMPLE_RATE, WINDOW, Samples
from ..augment import add_noise
from ..windows import Window, read_window
from .by_clip import in_time
from .capture import capture_residuals, frames_of, residuals
from .manifest import SIDES, site_key, tensor_name
from .window_draws import WindowDraws

MIXED_SHARE = 1 / 3
"""Share of the windows that another one is mixed into."""
LONGEST = WINDOW / SAMPLE_RATE
"""Seconds of the longest window."""
GAIN_DB = (-20, 6)
"""Range of the random gain."""


@dataclass(frozen=True, kw_only=True)
class CollectSettings:
    """Settings of a collection of activations."""

    augment: bool = True
    """Windows get a random gain, another window mixed in, and a random position in Whisper's 30 s."""
    padding_share: float = 0.1
    """Share of the frames of Whisper's padding to keep."""
    batch: int = 8
    """Windows per forward pass of a Whisper."""
    seed: int = 0
    """Seed of augmentation and of the frames of padding that are kept."""
    nnsight: bool = False
    """Residuals are read in nnsight's traces, clip by clip, rather than in hooks of torch."""
    pool_seconds: float | None = None
    """Seconds of the windows, of each of which the mean of its frames is kept; None: 30, and the frames."""

    def __post_init__(self) -> None:
        if self.pool_seconds is not None and not 0.25 <= self.pool_seconds <= LONGEST:
            raise SteeringError(f"pool_seconds is {self.pool_seconds}; expected 0.25 to {LONGEST:g} seconds")


class Placed(NamedTuple):
    """A window in Whisper's 30 s."""

    samples: Samples
    """Mono at 16 kHz, from the start of the 30 s to the end of the window."""
    first: int
    """The sample at which the window begins."""


class ShardFrames:
    """Frames of one shard in float16, by site and side of the split."""

    def __init__(self, keys: Sequence[int | str]) -> None:
        self._frames: dict[tuple[int | str, str], list[Tensor]] = {(key, side): [] for key in keys for side in SIDES}
        self._widths: dict[int | str, int] = {}

    def add(self, key: int | str, held_out: bool, frames: Tensor) -> None:
        """Add the frames (frames, d_model) of one window at one site."""
        self._frames[key, SIDES[held_out]].append(frames.cpu().half())
        self._widths[key] = frames.shape[-1]

    def tensors(self) -> dict[str, Tensor]:
        """Tensors (frames, d_model) by their names in the shard."""
        return {
            tensor_name(key, side): torch.cat(frames) if frames else torch.zeros(0, self._widths[key]).half()
            for (key, side), frames in self._frames.items()
        }


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """Extraction of a model's residual frames, shard by shard."""

    model: nn.Module
    """The model, unwrapped."""
    sites: Sequence[Site]
    """Sites to read."""
    windows: Sequence[Window]
    """Windows of the whole collection, any of which may be mixed into another of its side of the split."""
    settings: CollectSettings
    """Settings of the collection."""

    @cached_property
    def draws(self) -> WindowDraws:
        """Random choices about each window."""
        return WindowDraws(self.windows, self.settings.seed)

    def shard(self, windows: Sequence[Window]) -> dict[str, Tensor]:
        """A shard's tensors (frames, d_model) by name, of its windows."""
        of_encoder = all(site.path is None and site.side == "encoder" for site in self.sites)
        if family_of(self.model).takes_windows and of_encoder and not self.settings.nnsight:
            return self._of_windows(windows)
        return self._of_clips(windows)

    def _of_windows(self, windows: Sequence[Window]) -> dict[str, Tensor]:
        """Frames of a Whisper's encoder layers: all that hold audio, and a random share of the padding."""
        layers = [site.layer for site in self.sites]
        kept = ShardFrames(layers)
        for start in range(0, len(windows), self.settings.batch):
            group = windows[start : start + self.settings.batch]
            placed = [self._place(window) for window in group]
            taken = residuals(self.model, [samples for samples, _ in placed], layers)
            for row, (window, place) in enumerate(zip(group, placed, strict=True)):
                frames = taken[layers[0]].shape[1]
                if self.settings.pool_seconds is None:
                    rng = self.draws.generator(window, "padding")
                    keep = _kept_frames(place, frames, self.settings.padding_share, rng)
                else:
                    keep = _own_frames(place, frames)
                for layer in layers:
                    own = taken[layer][row].cpu()[keep]
                    kept.add(layer, window.held_out, own if self.settings.pool_seconds is None else _mean([own]))
        return kept.tensors()

    def _of_clips(self, windows: Sequence[Window]) -> dict[str, Tensor]:
        """Frames of any model, clip by clip, at any sites."""
        family = family_of(self.model)
        rate = family.sample_rate(self.model)
        kept = ShardFrames([site_key(site) for site in self.sites])
        for window in windows:
            samples = read_window(window, rate)
            if self.settings.augment:
                samples = self._vary(samples, window, rate)
            whole: dict[Site, list[Tensor]] = {site: [] for site in self.sites}
            for piece in _pieces(samples, family.max_seconds(self.model), rate):
                module, args, kwargs = family.prepare(self.model, piece)
                found = capture_residuals(
                    self.model, self.sites, module, *args, nnsight=self.settings.nnsight, **kwargs
                )
                for site, taken in found.items():
                    whole[site].append(self._own(site, taken, len(piece) / rate))
            for site, pieces in whole.items():
                for frames in pieces if self.settings.pool_seconds is None else [_mean(pieces)]:
                    kept.add(site_key(site), window.held_out, frames)
        return kept.tensors()

    def _own(self, site: Site, taken: Tensor, seconds: float) -> Tensor:
        """The frames (frames, d_model) of so many seconds; those of no time are in no mean."""
        if self.settings.pool_seconds is None:
            own = family_of(self.model).valid_frames(self.model, site, taken.shape[1], seconds)
        else:
            own = in_time(self.model, site, taken.shape[1], seconds)
        return taken[:, own.to(taken.device)].flatten(0, 1)

    def _place(self, window: Window) -> Placed:
        samples = read_window(window)
        if not self.settings.augment:
            return Placed(samples, 0)
        samples = self._vary(samples, window)
        rng = self.draws.generator(window, "position")
        first = int(rng.uniform(0, WINDOW - len(samples))) if rng.random() < 0.5 else 0
        return Placed(np.pad(samples, (first, 0)), first)

    def _vary(self, samples: Samples, window: Window, rate: int = SAMPLE_RATE) -> Samples:
        """The samples with a random gain, and for a share of the windows with another one mixed in."""
        mixing = self.draws.generator(window, "mixing")
        if mixing.random() < MIXED_SHARE:
            other = self.draws.other(window)  # of its side: held-out audio must not leak into training
            if other is not None:
                samples = add_noise(samples, read_window(other, rate), mixing)
        gain = self.draws.generator(window, "gain").uniform(*GAIN_DB)
        scaled: Samples = np.clip(samples * 10 ** (gain / 20), -1, 1).astype(np.float32)
        return scaled


def _pieces(samples: Samples, longest: float | None, rate: int) -> Iterator[Samples]:
    """The samples in pieces of at most `longest` seconds; in one piece for None."""
    step = len(samples) if longest is None else int(longest * rate)
    for start in range(0, len(samples), step):
        yield samples[start : start + step]


def _own_frames(place: Placed, frames: int) -> Tensor:
    """Indices of a 30-s window's frames that hold its audio, and no others."""
    return torch.arange(int(place.first / WINDOW * frames), frames_of(len(place.samples), frames))


def _mean(pieces: Sequence[Tensor]) -> Tensor:
    """The mean (1, d_model) of all frames of pieces (frames, d_model); no row where there is none."""
    frames = torch.cat(list(pieces)).float()
    return frames.mean(0, keepdim=True) if len(frames) else frames


def _kept_frames(place: Placed, frames: int, padding_share: float, rng: np.random.Generator) -> Tensor:
    """Indices of the frames to keep, of a 30-s window's: those of audio, half a second after it, and some padding."""
    keep = rng.random(frames) < padding_share
    keep[int(place.first / WINDOW * frames) : int(len(place.samples) / WINDOW * frames) + frames // 60] = True
    return torch.from_numpy(np.flatnonzero(keep))
