"""Pass over frames that measures an SAE's reconstruction and its features' use: fills a `Quality`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import SteeringError
from ...io.progress import Tell
from ...sae.autoencoder import SAE
from ..frame.codes import fires
from ..frame.control_dictionaries import control
from ..frame.intervals import Interval, group_counts, interval_of
from ..frame.provenance import SAEFacts, SiteFacts, finite, provenance
from ..frame.residual_clips import Residuals, check_fits
from .quality_records import AlivePoint, ControlQuality, QualitySettings
from .quality_result import Quality

Matrix = NDArray[np.float64]
NEVER = np.iinfo(np.int64).max


class _Sums(NamedTuple):
    """Sums over the frames of each clip."""

    error: Matrix
    """(clips,) squared error."""
    spread: Matrix
    """(clips,) squared distance to the mean frame."""
    ratio: Matrix
    """(clips,) squared error over squared norm."""
    fired: Matrix
    """(clips,) activations above zero."""
    first: NDArray[np.int64]
    """(clips, F) frame on which each feature first fires; NEVER if it does not."""


def quality(
    sae: SAE, residuals: Residuals, *, settings: QualitySettings | None = None, progress: Tell | None = None
) -> Quality:
    """Measure the SAE's reconstruction of frames of sound, and within how many frames its features have fired.

    Args:
        sae: the SAE.
        residuals: clips at its site; see `read_residuals`.
        settings: controls, orders, draws and seed.
        progress: called with what is being done, how many are done, and how many there are.

    Raises:
        SiteError: the SAE does not fit the residuals.
        SteeringError: there are no frames.
    """
    settings = settings or QualitySettings()
    check_fits(sae, residuals)
    frames = int(residuals.frames.sum())
    if frames < 2:
        raise SteeringError("there are no frames of sound to measure on; give longer clips")
    mean = sum(x.double().sum(0) for x in residuals) / frames
    own = _sums(sae, residuals, mean, "measuring the SAE", progress)
    baseline = sum(float((((x.double() - mean) ** 2).sum(1) / _norms(x)).sum()) for x in residuals) / frames
    controls = [ControlQuality("mean frame", 1.0, finite(baseline), 0.0)]
    for name in settings.controls:
        made = control(name, sae, residuals, seed=settings.seed)
        sums = _sums(made, residuals, mean, f"measuring {name}", progress)
        controls.append(ControlQuality(name, *_numbers(sums, frames)))
    fvu, l2, l0 = _numbers(own, frames)
    counts = residuals.frames.astype(float)
    return Quality(
        provenance=provenance(
            sites=[SiteFacts.of(residuals)], saes=[SAEFacts.of(sae, l0)], settings=settings, seed=settings.seed,
        ),
        fvu=fvu,
        interval=_interval(own.error, own.spread, residuals, settings),
        l2=l2,
        l2_interval=_interval(own.ratio, counts, residuals, settings),
        l0=l0,
        features=sae.n_features,
        frames=frames,
        alive=alive_curve(own.first, residuals.frames, orders=settings.orders, seed=settings.seed),
        controls=tuple(controls),
    )  # fmt: skip


def alive_curve(first: Any, frames: Any, *, orders: int = 20, seed: int = 0) -> tuple[AlivePoint, ...]:
    """Share of features that have fired within N frames, as a function of N, over random orders of the clips.

    Args:
        first: (clips, F) frame of each clip on which each feature first fires, counted from 0; a number beyond the
            clip's end if it does not.
        frames: (clips,) frames of each clip.
        orders: number of orders; the first is that of the data.
        seed: seed of the others.

    Returns:
        Points at 100, 200, 500, 1000 frames and so on, and at all of them.
    """
    first, frames = np.asarray(first), np.asarray(frames)
    total = int(frames.sum())
    steps = sorted(
        {base * 10**power for power in range(2, 12) for base in (1, 2, 5) if base * 10**power < total} | {total}
    )
    rng, shares = np.random.default_rng(seed), []
    for number in range(max(orders, 1)):
        order = np.arange(len(frames)) if number == 0 else rng.permutation(len(frames))
        starts = np.cumsum([0, *frames[order][:-1]])
        at = np.full(first.shape[1], NEVER)
        for start, clip in zip(starts, order, strict=True):
            fired = first[clip] < frames[clip]
            at[fired] = np.minimum(at[fired], start + first[clip][fired])
        shares.append([(at < n).mean() for n in steps])
    table = np.array(shares)
    return tuple(
        AlivePoint(n, *(finite(f(table[:, i])) for f in (np.mean, np.min, np.max))) for i, n in enumerate(steps)
    )


def _sums(dictionary: Any, residuals: Residuals, mean: Any, what: str, progress: Tell | None) -> _Sums:
    shape = (len(residuals), dictionary.n_features)
    sums, first = np.zeros((4, len(residuals))), np.full(shape, NEVER)
    for row, x in enumerate(residuals):
        if progress is not None:
            progress(what, row, len(residuals))
        if not len(x):
            continue
        with torch.no_grad():
            f = dictionary.encode(x)
            error = ((x.double() - dictionary.decode(f, x).double()) ** 2).sum(1)
        active = fires(dictionary, f)
        spread = ((x.double() - mean) ** 2).sum()
        sums[:, row] = [float(each) for each in (error.sum(), spread, (error / _norms(x)).sum(), active.sum())]
        where = active.int().argmax(0).numpy()
        first[row] = np.where(active.any(0).numpy(), where, NEVER)
    if progress is not None:
        progress(what, len(residuals), len(residuals))
    return _Sums(sums[0], sums[1], sums[2], sums[3], first)


def _norms(x: Any) -> Any:
    return (x.double() ** 2).sum(1).clamp(min=1e-12)


def _numbers(sums: _Sums, frames: int) -> tuple[float, float, float]:
    """FVU, normalised L2 and L0."""
    fvu, l2 = sums.error.sum() / max(sums.spread.sum(), 1e-12), sums.ratio.sum() / frames
    return finite(fvu), finite(l2), finite(sums.fired.sum() / frames)


def _interval(top: Matrix, bottom: Matrix, residuals: Residuals, settings: QualitySettings) -> Interval | None:
    names, place = np.unique(np.array(residuals.groups), return_inverse=True)
    if len(names) < 2:
        return None
    drawn = group_counts(len(names), draws=settings.draws, seed=settings.seed)[:, place.reshape(-1)]
    found = interval_of((drawn @ top) / np.maximum(drawn @ bottom, 1e-12))
    return None if found is None else Interval(float(f"{found.low:.10g}"), float(f"{found.high:.10g}"))
