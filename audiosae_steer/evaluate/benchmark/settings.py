"""What the benchmark is given: clips, recipes, and how much of it to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import SteeringError
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe
from .arms import STRENGTHS, STRICT, TIMED, UNTIMED
from .baselines import DRAWS
from .long_recordings import LongFile
from .material import Sound

PARTS = ("clips", "mixtures", "hard", "long")
MODES = {"timed": (TIMED,), "untimed": (UNTIMED, STRICT)}


class BenchData(NamedTuple):
    """The clips. Nothing is fitted or chosen on any but those of the second line."""

    absent: Sequence[Sound]
    """Nobody speaks."""
    present: Sequence[Sound]
    """Somebody speaks."""
    find_absent: Sequence[Sound] = ()
    """For fits and thresholds: nobody speaks."""
    find_present: Sequence[Sound] = ()
    """For fits and thresholds: somebody speaks."""
    digits: Sequence[Sound] = ()
    """Single short words, for the hard part."""
    long: Sequence[LongFile] = ()
    """Recordings of minutes; where there are none, they are made of the clips."""


@dataclass(frozen=True)
class BenchSettings:
    """What to run, and how much of it."""

    parts: Sequence[str] = PARTS
    modes: Sequence[str] = ("timed", "untimed")
    arms: Sequence[str] = ()
    """Names of arms or curves; empty for all. The unsteered model always runs."""
    language: str | None = "en"
    """None lets a multilingual model detect it."""
    budget: float = 0.005
    """Share of speech clips that a tuned threshold may blank."""
    strengths: Sequence[float] = STRENGTHS
    noise_tokens: int | None = None
    """Most tokens to write where nobody speaks: text that loops takes most of the time. Whether there is text does not
    depend on it; words per minute, and Whisper's filters, do. None is Whisper's own, 224."""
    draws: int = DRAWS
    """Of random features."""
    random_clips: int = 64
    """Clips of each kind for the random features."""
    utterances: int = 100
    """For mixtures and for each kind of hard speech."""
    long_count: int = 3
    long_minutes: float = 5.0
    pipeline_files: int | None = None
    """Long files for transformers' pipeline, which writes loops out in full, for minutes; None: all, 0: none."""
    timed_clips: int = 4
    """Clips for the latency; 0 leaves it out."""
    seed: int = 0


class Recipes(NamedTuple):
    """What is measured."""

    ours: Recipe
    ungated: Recipe | None = None
    """What runs without gates; None takes `ours`."""
    contrast: Recipe | None = None
    dense: Recipe | None = None
    sae: SAE | None = None
    """For the arms that need one; None takes that of `ours`."""
    layer: int | None = None
    """Encoder layer of the SAE; None takes that of `ours`."""


def check(settings: BenchSettings, data: BenchData) -> None:
    """Refuse what cannot be run.

    Raises:
        SteeringError: an unknown part or mode, or clips of one kind are missing.
    """
    for what, given, known in (("part", settings.parts, PARTS), ("mode", settings.modes, tuple(MODES))):
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise SteeringError(f"unknown {what} {unknown[0] if unknown else '(none)'!r}; expected {', '.join(known)}")
    if not data.absent or not data.present:
        raise SteeringError("the benchmark needs clips in which nobody speaks, and clips in which somebody does")


def sae_of(recipes: Recipes) -> tuple[SAE | None, int | None]:
    """The SAE that arms are made with, and its layer; None if there is none.

    Raises:
        SteeringError: it is not known which layer it reads.
    """
    if recipes.sae is not None:
        layer = recipes.layer or recipes.sae.info.get("layer")
        if layer is None:
            raise SteeringError("say which encoder layer the SAE reads")
        return recipes.sae, int(layer)
    for spec in recipes.ours.sites:
        if spec.side == "encoder" and spec.sae is not None:
            return recipes.ours.load_saes()[spec.sae], spec.layer
    return None, None
