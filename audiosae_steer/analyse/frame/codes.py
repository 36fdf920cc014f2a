"""Codes of clips by a dictionary: pooled matrices in memory, and frame-wise patterns that are sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SteeringError
from ...io.progress import Tell
from .extra import import_extra
from .nulls import shifted_rows
from .residual_clips import Residuals, check_fits

Matrix = NDArray[np.float32]
Counts = NDArray[np.int64]
MIN_FRAMES = 50
"""Frames of a part on which a feature has to fire, by default, to be seen there."""
MIN_CLIPS = 5
"""Clips of a part in which it has to."""


class Dictionary(Protocol):
    """Features of residuals: an SAE, or a control that stands in its place."""

    @property
    def n_features(self) -> int:
        """Number of features, F."""

    @property
    def d_model(self) -> int:
        """Width of the residual."""

    def encode(self, x: Any) -> Tensor:
        """Activations (frames, F) of residuals (frames, d_model)."""


class Seen(NamedTuple):
    """Support of features in a part."""

    frames: Counts
    """(F,) frames on which each fires."""
    clips: Counts
    """(F,) clips in which it does."""

    def mask(self, min_frames: int = MIN_FRAMES, min_clips: int = MIN_CLIPS) -> NDArray[np.bool_]:
        """(F,): features with enough support. The others are unseen: in no numerator, in no denominator."""
        result: NDArray[np.bool_] = (self.frames >= min_frames) & (self.clips >= min_clips)
        return result


class ClipCodes(NamedTuple):
    """Clips as pooled activations, row by row in order."""

    max: Matrix
    """(clips, F), the highest activation."""
    mean: Matrix
    """(clips, F), the mean over all frames."""
    nonzero_mean: Matrix
    """(clips, F), the mean over frames on which the feature fires; 0 where it does not."""
    fired: NDArray[np.int32]
    """(clips, F), frames on which it fires."""
    frames: Counts
    """(clips,), frames."""

    def seen(self, rows: Any = slice(None)) -> Seen:
        """Support of the features in some of the clips."""
        fired = self.fired[rows]
        return Seen(fired.sum(0, dtype=np.int64), (fired > 0).sum(0, dtype=np.int64))

    @property
    def l0(self) -> float:
        """Features that fire on a frame, on average."""
        return float(self.fired.sum(dtype=np.int64) / max(self.frames.sum(), 1))


def fires(dictionary: Dictionary, f: Tensor) -> Tensor:
    """Mask (frames, F) of activations that count as firing: above 0, of dense coordinates above their threshold."""
    return f > getattr(dictionary, "fires_above", 0)


def pool_codes(
    residuals: Residuals, dictionary: Dictionary, *, what: str = "pooling features", progress: Tell | None = None
) -> ClipCodes:
    """Activations of each clip pooled over its frames of sound; four numbers per clip and feature stay in memory.

    Args:
        residuals: clips.
        dictionary: SAE, or a control of it.
        what: the work's name, for progress.
        progress: called with that, how many are done, and how many there are.

    Raises:
        SiteError: the dictionary reads residuals of another width.
    """
    check_fits(dictionary, residuals)
    shape = (len(residuals), dictionary.n_features)
    peak, mean, nonzero = (np.zeros(shape, np.float32) for _ in range(3))
    fired = np.zeros(shape, np.int32)
    for row, x in enumerate(residuals):
        if progress is not None:
            progress(what, row, len(residuals))
        if not len(x):
            continue
        with torch.no_grad():
            f = dictionary.encode(x).float()
        active = fires(dictionary, f)
        count = active.sum(0)
        peak[row], mean[row] = f.amax(0).numpy(), f.mean(0).numpy()
        nonzero[row] = ((f * active).sum(0) / count.clamp(min=1)).numpy()
        fired[row] = count.numpy()
    if progress is not None:
        progress(what, len(residuals), len(residuals))
    return ClipCodes(peak, mean, nonzero, fired, residuals.frames)


@dataclass(frozen=True)
class Patterns:
    """Frames on which features fire, as a sparse matrix (frames, F); padding is not in it."""

    active: Any
    """scipy CSR (frames, F) of int32: 1 where a feature fires."""
    starts: Counts
    """(clips + 1,) first row of each clip, and the number of rows."""
    groups: tuple[str, ...]
    """Group of each clip."""
    rate: float | None
    """Frames per second."""

    @classmethod
    def of(
        cls,
        clips: Sequence[Any],
        *,
        groups: Sequence[str] | None = None,
        rate: float | None = 50.0,
        sound: Sequence[int] | None = None,
    ) -> Patterns:
        """Patterns from matrices (frames, F) of each clip, dense or sparse, true where a feature fires.

        Args:
            clips: the matrices.
            groups: group of each clip; None: each is one of its own.
            rate: frames per second.
            sound: number of frames of each clip that are sound, the rest padding; None: all.

        Raises:
            SteeringError: there are no clips, or they differ in their number of features.
            MissingExtraError: scipy is not installed.
        """
        sparse = import_extra("scipy.sparse")
        rows = [sparse.csr_matrix(clip)[: clip.shape[0] if sound is None else sound[i]] for i, clip in enumerate(clips)]
        if not rows or len({each.shape[1] for each in rows}) > 1:
            raise SteeringError("patterns take at least one clip (frames, F), all of one number of features")
        active = sparse.vstack(rows, format="csr").astype(np.int32)
        active.data[:] = 1
        starts = np.cumsum([0, *(each.shape[0] for each in rows)])
        names = tuple(groups) if groups is not None else tuple(f"clip {i}" for i in range(len(rows)))
        return cls(active, starts, names, rate)

    @property
    def n_features(self) -> int:
        """Number of features, F."""
        return int(self.active.shape[1])

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.active.shape[0])

    @property
    def l0(self) -> float:
        """Features that fire on a frame, on average."""
        return float(self.active.nnz / max(self.frames, 1))

    @property
    def clip_of(self) -> Counts:
        """(frames,): clip of each frame."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def seen(self) -> Seen:
        """Support of the features."""
        frames = np.asarray(self.active.sum(0)).reshape(-1).astype(np.int64)
        by_clip = self._sum_rows(self.clip_of, len(self.starts) - 1)
        return Seen(frames, np.diff(by_clip.tocsc().indptr).astype(np.int64))

    def shifted(self, rng: np.random.Generator) -> tuple[Patterns, int]:
        """The patterns of each clip circularly shifted by at least 1 s, all features alike, and the number of clips
        that are too short for that."""
        rows, short = shifted_rows(self.starts, self.rate, rng)
        return replace(self, active=self.active[rows]), short

    def pick(self, clips: Any) -> Patterns:
        """The clips at these positions."""
        chosen = [int(clip) for clip in clips]
        rows = [np.arange(self.starts[i], self.starts[i + 1]) for i in chosen]
        taken = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        starts = np.cumsum([0, *map(len, rows)])
        return replace(self, active=self.active[taken], starts=starts, groups=tuple(self.groups[i] for i in chosen))

    def at_rate(self, rate: float) -> Patterns:
        """The patterns at a lower frame rate: a feature fires on a frame if it does on any frame that is centred
        within it.

        Raises:
            SteeringError: the frames have no time, or the rate is higher than theirs.
        """
        if self.rate is None or rate > self.rate:
            raise SteeringError(
                f"patterns of {self.rate or 'no'} frames/s cannot be resampled to {rate:g}: to a lower rate only"
            )
        lengths = np.diff(self.starts)
        place = [((np.arange(n) + 0.5) * rate / self.rate).astype(np.int64) for n in lengths]
        counts = [int(at[-1]) + 1 if len(at) else 0 for at in place]
        starts = np.cumsum([0, *counts])
        target = np.concatenate([at + first for at, first in zip(place, starts[:-1], strict=True)])
        active = self._sum_rows(target, int(starts[-1]))
        return replace(self, active=active, starts=starts, rate=rate)

    def _sum_rows(self, target: Counts, rows: int) -> Any:
        """Rows joined, by the row that each goes to: 1 where any fires."""
        sparse = import_extra("scipy.sparse")
        ones = np.ones(len(target), np.int32)
        joined = sparse.csr_matrix((ones, (target, np.arange(len(target)))), shape=(rows, len(target))) @ self.active
        joined = joined.tocsr()
        joined.data[:] = 1
        return joined


def patterns_of(
    residuals: Residuals, dictionary: Dictionary, *, what: str = "encoding frames", progress: Tell | None = None
) -> Patterns:
    """Frames of sound on which each feature fires. One clip is dense at a time.

    Raises:
        SiteError: the dictionary reads residuals of another width.
        MissingExtraError: scipy is not installed.
    """
    check_fits(dictionary, residuals)
    sparse = import_extra("scipy.sparse")
    rows = []
    for number, x in enumerate(residuals):
        if progress is not None:
            progress(what, number, len(residuals))
        with torch.no_grad():
            active = fires(dictionary, dictionary.encode(x)) if len(x) else torch.zeros(0, dictionary.n_features) > 0
        rows.append(sparse.csr_matrix(active.cpu().numpy()))
    if progress is not None:
        progress(what, len(residuals), len(residuals))
    return Patterns.of(rows, groups=residuals.groups, rate=residuals.rate)
