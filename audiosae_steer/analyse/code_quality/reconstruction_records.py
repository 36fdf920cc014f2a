"""Settings of `reconstruction_wer`, and the records that a `Reconstructions` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..frame.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class ReconstructionSettings:
    """Settings of `reconstruction_wer`."""

    thresholds: tuple[float, ...] = ()
    """Gate thresholds to try beside the SAE's own; repeatable."""
    bias: bool = True
    """Try the SAE without any feature as well, which is the floor."""
    batch: int = 16
    """Clips at once."""
    draws: int = 2000
    """Bootstrap draws of clips behind an interval."""
    seed: int = 0
    """Seed of the draws."""


class WrittenFrom(NamedTuple):
    """Word error rates of texts from one kind of residual; 0.05 is 5 %."""

    name: str
    wer: float
    interval: Interval
    """95 %, clips drawn with replacement."""
    capped: float
    """With at most as many errors for a clip as it has words, so that loops count as lost."""
    change: float | None
    """WER less that of the model itself; None of that."""
    change_interval: Interval | None
    """95 %, paired."""
    capped_change: float | None
    capped_interval: Interval | None
    empty: int
    """Clips without any text."""
