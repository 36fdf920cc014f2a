"""Inputs that all stages of making a recipe share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...data.augment import vary_absent, vary_present
from ...data.partitions import Partition, Partitions
from ...io.progress import Tell
from ..gates.labelled_frames import LabelledClips
from .settings import MakeOutput, MakeSettings
from .stage_cache import Stages


class StageContext(NamedTuple):
    """Model, clips, settings and cache of a run."""

    model: Any
    """An openai-whisper model."""
    base: str | None
    """The model's id on the Hub."""
    layer: int
    """Encoder layer, counted from 1."""
    clips: Partitions
    """Clips to find, to calibrate and to test."""
    settings: MakeSettings
    stages: Stages
    output: MakeOutput

    @property
    def encoded(self) -> Path:
        """Folder of encoded clips."""
        return self.stages.folder / "encoded"

    @property
    def show(self) -> bool:
        """True if progress bars are wanted."""
        return self.output.bars is not None

    @contextmanager
    def tell(self) -> Iterator[Tell | None]:
        """Progress bars for steps that report their progress by calls."""
        if self.output.bars is None:
            yield None
        else:
            with self.output.bars() as tell:
                yield tell


def vary_side(side: Partition, settings: MakeSettings, seed: int) -> LabelledClips:
    """Clips to place a gate's threshold on: loud and soft, noisy, as brief as a word, and beside noise."""
    absent = vary_absent(side.absent.samples, seed, synthetic=settings.synthetic // 2)
    return LabelledClips(absent, vary_present(side.present.samples, side.absent.samples, seed + 1))
