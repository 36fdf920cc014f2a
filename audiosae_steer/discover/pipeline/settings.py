"""Settings of making a recipe, and the folder to write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ...evaluate.benchmark.settings import BenchSettings
from ...io.progress import Tell
from ...training.settings import TrainSettings
from ..calibration.settings import MODES, Budget, CalibrateSettings
from ..learning.settings import LearnSettings

NAME, UNGATED = "no-false-speech", "no-false-speech-ungated"
"""Names of the recipes with gates and without."""
ARMS = ("unsteered", "learned", "contrast", "clip-gated", "frame-gated", "both-gated", "gate-alone")
"""Arms of the benchmark that test the recipes."""
Bars = Callable[[], AbstractContextManager[Tell]]
"""Factory of progress bars."""

CANDIDATES = CalibrateSettings(
    modes=MODES, kinds=("as written",), shares=(1.0,), strengths=(0.5, 0.75, 1.0, 1.25, 1.5), gate_margins=(None,)
)
"""Candidates of calibration: as the stages before have found them, at several strengths."""
TEST = BenchSettings(parts=("clips",), arms=ARMS, strengths=(1.0,), timed_clips=0)
"""Benchmark of the result."""


@dataclass(frozen=True, kw_only=True)
class MakeSettings:
    """Sizes and settings of the stages that make a recipe."""

    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Shares of finding, calibrating and testing, for clips that are not given apart."""
    most: int | None = 800
    """Most clips to take of each source; None takes all."""
    least: int = 30
    """Fewest clips of either kind, for all three purposes together; a fifth of it is to test on. Where none of 6 such
    clips has text, the 95 % interval reaches up to 39 %: fewer tell next to nothing."""
    synthetic: int = 80
    """Synthetic noises to find on, beside the clips; half as many to calibrate on."""
    sae: TrainSettings = field(default_factory=TrainSettings)
    """Training of an SAE where none is given; its size and seed are those below."""
    sae_features: int | None = None
    """Features of the SAE that is trained; None takes 8 × d_model, at most 4096."""
    learn: LearnSettings = field(default_factory=LearnSettings)
    """Learning of the amounts."""
    contrast: bool = False
    """Find a recipe by contrast, too, to compare with the learned one."""
    frame_gate: bool = True
    """Fit a frame gate beside the clip gate."""
    timestamp_windows: int = 150
    """Windows of speech and noise that a timestamp gate is fitted on, and a third as many to place its threshold on; 0
    leaves the recipe without one."""
    margin: float = 0.2
    """Position of the gates' thresholds, from the highest score of speech (0) to the median score of non-speech (1)."""
    budget: Budget = field(default_factory=Budget)
    """Highest cost on speech."""
    calibrate: CalibrateSettings = field(default_factory=lambda: CANDIDATES)
    """Candidates of calibration. The clip gate's threshold stays where clips varied for it have put it;
    `audiosae-steer calibrate` tries more."""
    test: BenchSettings = field(default_factory=lambda: TEST)
    """Benchmark of the result."""
    seed: int = 0
    """Seed of everything random."""


@dataclass(frozen=True, kw_only=True)
class MakeOutput:
    """Folder to write, its provenance, the cache of the stages, and progress bars."""

    folder: Path
    """Folder for the recipes, the SAE, the card and the measurements."""
    cache: Path | None = None
    """Folder for the stages' results and encoded clips; None takes `.work` in `folder`."""
    model_name: str | None = None
    """Name of the model in the recipe; None takes that of the model's file or folder, where it is given by path."""
    command: str | None = None
    """Command line, for the recipe's provenance."""
    bars: Bars | None = None
    """Factory of progress bars, a context manager; None shows none."""

    @classmethod
    def of(cls, out: str | Path | MakeOutput) -> MakeOutput:
        """The output itself, or that of a folder alone."""
        return out if isinstance(out, MakeOutput) else cls(folder=Path(out))
