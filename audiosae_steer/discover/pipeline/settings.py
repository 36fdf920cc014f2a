"""How a recipe is made, and what all stages of making one need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...data.augment import vary_absent, vary_present
from ...data.partitions import Dealt, Side
from ...evaluate.benchmark.settings import BenchSettings
from ...io.progress import Tell
from ...training.settings import Settings
from ..calibration.gate_thresholds import Mode
from ..calibration.pareto import Budget
from ..calibration.successive_halving import CalibrateSettings
from ..gates.fit import LabelledClips
from ..learning.settings import LearnSettings
from .stage_cache import Stages

NAME, UNGATED = "no-false-speech", "no-false-speech-ungated"
ARMS = ("unsteered", "learned", "contrast", "clip-gated", "frame-gated", "both-gated", "gate-alone")
MODES: tuple[Mode, ...] = ("timed", "untimed")
Bars = Callable[[], AbstractContextManager[Tell]]


class MakeSettings(NamedTuple):
    """How a recipe is made."""

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of finding, calibrating and testing, for clips that are not given apart."""
    most: int | None = 800
    """Most clips to take of each source."""
    synthetic: int = 80
    """Synthetic noises to find on, beside the clips; half as many to calibrate on."""
    sae: Settings = Settings()
    """How an SAE is trained where none is given; its size and seed are those below."""
    sae_features: int | None = None
    """Its size; None takes 8 × d_model, at most 4,096."""
    learn: LearnSettings = LearnSettings()
    """How the amounts are learned."""
    contrast: bool = False
    """Whether a recipe found by contrast competes with the learned one."""
    frame_gate: bool = True
    """Whether a frame gate is fitted beside the clip gate."""
    margin: float = 0.2
    """Where gates' thresholds lie between speech and what is none; see `fit_gate.set_threshold`."""
    budget: Budget = Budget()
    """What steering may cost on speech."""
    calibrate: CalibrateSettings = CalibrateSettings(
        modes=MODES, kinds=("as written",), shares=(1.0,), strengths=(0.5, 0.75, 1.0, 1.25, 1.5), gate_margins=(None,)
    )
    """What calibration tries, the clip gate's threshold left where clips varied for it have put it;
    `audiosae-steer calibrate` tries more."""
    test: BenchSettings = BenchSettings(parts=("clips",), arms=ARMS, strengths=(1.0,), timed_clips=0)
    """What is measured in the end."""
    seed: int = 0
    """Of everything random."""


class Run(NamedTuple):
    """What all stages need."""

    model: Any
    model_name: str | None
    base: str | None
    """The model's id on the Hub."""
    layer: int
    dealt: Dealt
    settings: MakeSettings
    stages: Stages
    encoded: Path
    command: str | None
    bars: Bars | None

    @property
    def show(self) -> bool:
        """Whether to show progress bars."""
        return self.bars is not None

    @contextmanager
    def tell(self) -> Iterator[Tell | None]:
        """Progress bars for what reports its progress by calls."""
        if self.bars is None:
            yield None
        else:
            with self.bars() as tell:
                yield tell


def vary_side(side: Side, settings: MakeSettings, seed: int) -> LabelledClips:
    """Clips to place a gate's threshold on: loud and soft, noisy, as brief as a word, and beside noise."""
    absent = vary_absent(side.absent.samples, seed, synthetic=settings.synthetic // 2)
    return LabelledClips(absent, vary_present(side.present.samples, side.absent.samples, seed + 1))
