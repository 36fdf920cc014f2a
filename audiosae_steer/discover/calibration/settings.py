"""Settings of calibration: candidates, budget, choice, and the files to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from ...errors import MissingExtraError, SteeringError
from ...io.progress import Tell

Mode = Literal["timed", "untimed"]
"""Decoding with timestamps, as `whisper.transcribe` does, and without."""
Gating = Literal["none", "clip", "frame", "clip+frame"]
"""Gates of a candidate."""

MODES: tuple[Mode, ...] = ("timed", "untimed")
EditKind = Literal["as written", "typical", "ablate", "clamp", "push"]
"""Kinds of edit that a recipe's edits are turned into."""
EDIT_KINDS: tuple[EditKind, ...] = ("as written", "typical", "ablate", "clamp", "push")
GATINGS: tuple[Gating, ...] = ("none", "clip", "frame", "clip+frame")
# grids: halves of the features, and quarters of a strength around 1, coarser where the cliff is usually behind
SHARES = (1.0, 0.5, 0.25, 0.125)
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
GATE_MARGINS: tuple[float | None, ...] = (None, 0.2, 0.5, 0.8)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Highest cost of steering on speech.

    Raises:
        SteeringError: a number is out of its range.
    """

    wer: float = 0.1
    """Budget: points of word error rate above the unsteered model's, loops capped."""
    blanked: float = 0.005
    """Budget: share of the clips with speech that may lose all their text, beyond those the unsteered model leaves
    empty."""

    def __post_init__(self) -> None:
        if not (self.wer >= 0 and 0 <= self.blanked <= 1):
            raise SteeringError(
                f"a budget of {self.wer} points and {self.blanked} blanked cannot be; expected points of WER, 0 or "
                "more, and a share of clips: Budget(wer=0.1, blanked=0.005)"
            )


@dataclass(frozen=True, kw_only=True)
class BreakCriterion:
    """Cost on speech above which steering counts as breaking it; either suffices."""

    wer: float = 1.0
    """Points of word error rate above the unsteered model's."""
    blanked: float = 0.02
    """Share of the clips with speech that lose all their text."""


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings:
    """Candidates, and the choice among them.

    Raises:
        SteeringError: a mode, kind or gate is unknown, or a number is out of its range.
    """

    modes: tuple[Mode, ...] = ("timed",)
    """Decoding modes: timed (timestamps, as `whisper.transcribe`), untimed. The budget is kept in every one."""
    kinds: tuple[EditKind, ...] = EDIT_KINDS
    """Kinds of edit: as written, typical, ablate, clamp, push. See `candidates.variants`."""
    shares: tuple[float, ...] = SHARES
    """Shares of the features to keep."""
    strengths: tuple[float, ...] = STRENGTHS
    """Strengths; 1 is the edits as written."""
    gates: tuple[Gating, ...] = GATINGS
    """Gates: none, clip, frame, clip+frame, as far as a recipe has them."""
    gate_margins: tuple[float | None, ...] = GATE_MARGINS
    """Positions of the clip gate's threshold, from the highest score of speech (0) to the median score of non-speech
    (1). None keeps the recipe's own."""
    first: int = 16
    """Clips of each kind in the first round."""
    near: float = 1.0
    """Points of text within which candidates are equally good, so that the one furthest from its cliff is taken."""
    margin: float = 1.25
    """Lowest ratio of the strength at which speech breaks (the cliff) to the chosen strength."""
    breaks: BreakCriterion = BreakCriterion()
    """Cost above which speech counts as broken."""
    cliff_clips: int = 120
    """Most clips with speech on which the cliff is looked for. Every strength tried is decoded anew, and a sample
    shows what breaks speech."""
    language: str | None = "en"
    """Language code; None lets a multilingual model detect it."""
    batch: int = 16
    """Clips decoded at once."""
    seed: int = 0
    """Seed of the order in which rounds take clips in."""

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
            ("modes", self.modes, MODES),
            ("kinds", self.kinds, EDIT_KINDS),
            ("gates", self.gates, GATINGS),
        )
        for name, given, known in choices:
            if not given or set(given) - set(known):
                raise SteeringError(f"{name} are {list(given)}; expected some of {', '.join(known)}")
        if not (self.margin >= 1 and self.near >= 0 and self.batch >= 1 and self.cliff_clips >= 1):
            raise SteeringError(
                "margin is 1 or more, near is 0 or more points, batch and cliff_clips are 1 or more clips"
            )


@dataclass(frozen=True, kw_only=True)
class CalibrationOutput:
    """Recipe to write, its provenance, and the cache.

    Raises:
        SteeringError: the path does not end in .json, or its folder does not exist.
        MissingExtraError: matplotlib, for the picture, is not installed.
    """

    path: Path | None = None
    """Recipe to write, .json; a folder beside it gets `front.png` and `candidates.json`. None writes nothing."""
    name: str | None = None
    """Name of the recipe; None takes that of the file, or of the recipe that it was made from."""
    cache: Path | None = None
    """Folder for residuals and texts, about 1 MB for each clip, layer and mode. With one, an interrupted run resumes;
    None keeps them in memory."""
    command: str | None = None
    """Command line, for the recipe's provenance."""
    data: dict[str, list[str]] | None = None
    """Sources of the clips by kind, for the recipe's provenance."""
    split: str | None = None
    """Relation of these clips to those that the recipes were found on, for the recipe's provenance."""
    progress: Tell | None = None
    """Callback with the task, the number done and the total."""

    def __post_init__(self) -> None:
        if self.path is None:
            return
        if self.path.suffix != ".json":
            raise SteeringError(f"{self.path} is no name for a recipe; expected one that ends in .json")
        if not self.path.parent.is_dir():
            raise SteeringError(f"there is no folder {self.path.parent} to write the recipe into; make it first")
        if find_spec("matplotlib") is None:
            raise MissingExtraError("the picture needs matplotlib; run: pip install 'audiosae-steer[evaluate]'")

    @classmethod
    def of(cls, out: str | Path | CalibrationOutput | None) -> CalibrationOutput:
        """The output itself, or that of a path alone."""
        return out if isinstance(out, CalibrationOutput) else cls(path=None if out is None else Path(out))

    def tell(self, task: str, done: int, total: int) -> None:
        """Report progress, if that is asked for."""
        if self.progress is not None:
            self.progress(task, done, total)


def modes_of(name: str) -> tuple[Mode, ...]:
    """Decoding modes by name: `timed`, `untimed` or `both`.

    Raises:
        SteeringError: the name is unknown.
    """
    if name == "both":
        return MODES
    found: tuple[Mode, ...] = tuple(mode for mode in MODES if mode == name)
    if not found:
        raise SteeringError(f"modes {name!r} is unknown; expected timed, untimed or both")
    return found
