"""Settings, clips and recipes of the benchmark of false speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import SteeringError
from ...sae.autoencoder import SAE
from ...steering.recipes.schema import Recipe
from .arms import STRENGTHS, STRICT, TIMED, UNTIMED
from .baselines import DRAWS
from .bench_clips import BenchClip
from .long_recordings import LongFile
from .mixed_recordings import MixedFile

PARTS = ("clips", "mixtures", "hard", "long")
"""Parts of the benchmark that run by default, in the order of tables."""
BEAM_PART = "beams"
"""Part that runs if it is named, or if numbers of beams are: its texts take several times as long."""
MIXED_PART = "mixed"
"""Part that runs if it is named: windows that hold speech and noise, as `whisper.transcribe` does them."""
WINDOWS = 60
"""Windows of that part, unless another number is asked for."""
MODES = {"timed": (TIMED,), "untimed": (UNTIMED, STRICT)}
"""Decoding modes that each name of `BenchSettings.modes` stands for."""


@dataclass(frozen=True, kw_only=True)
class BenchData:
    """Clips of the benchmark. Fits and thresholds see `find_absent` and `find_present` alone."""

    absent: Sequence[BenchClip]
    """Clips without speech, to test on."""
    present: Sequence[BenchClip]
    """Clips with speech, to test on."""
    find_absent: Sequence[BenchClip] = ()
    """Other clips without speech, for fits and thresholds."""
    find_present: Sequence[BenchClip] = ()
    """Other clips with speech, for fits and thresholds."""
    digits: Sequence[BenchClip] = ()
    """Clips of single short words, for the hard part."""
    long: Sequence[LongFile] = ()
    """Recordings of minutes; without any, they are assembled from the clips."""
    mixed: Sequence[MixedFile] = ()
    """Windows of speech and noise, with their controls; without any, they are assembled from the clips."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Parts, modes and arms of the benchmark to run, and the amount of each."""

    parts: Sequence[str] = PARTS
    """Parts to run, of clips, mixtures, hard, long, mixed and beams."""
    modes: Sequence[str] = tuple(MODES)
    """Decoding modes, of timed and untimed."""
    arms: Sequence[str] = ()
    """Names of arms or curves; empty for all. The unsteered model always runs."""
    language: str | None = "en"
    """Language code; None lets a multilingual model detect it."""
    budget: float = 0.005
    """Share of speech clips that a tuned threshold may blank."""
    strengths: Sequence[float] = STRENGTHS
    """Strengths of the ungated curves, as multiples of the recipe's own."""
    noise_tokens: int | None = None
    """Most tokens to write for a clip without speech; None is Whisper's own limit, 224. Fewer is faster, since text
    that loops takes most of the time. Whether there is text does not depend on it; words per minute, and Whisper's
    filters, do."""
    draws: int = DRAWS
    """Draws of random features."""
    random_clips: int = 64
    """Clips of each kind for the random features."""
    utterances: int = 100
    """Utterances for mixtures, and for each kind of hard speech."""
    long_count: int = 3
    """Long recordings to assemble."""
    long_minutes: float = 5.0
    """Minutes that each of them lasts."""
    pipeline_files: int | None = None
    """Long recordings for transformers' pipeline, which writes loops out in full, for minutes; None is all, 0 none."""
    mixed_count: int | None = field(default=None, metadata={"optional": True})
    """Windows of speech and noise to assemble for the part mixed; None is 60."""
    beams: Sequence[int] | None = field(default=None, metadata={"optional": True})
    """Numbers of beams to decode with, 1 for greedy; the libraries as they come are measured beside them. Any adds the
    part beams, which measures 1 and 5 by default."""
    timed_clips: int = 4
    """Clips for the latency; 0 leaves it out."""
    seed: int = 0
    """Seed of everything random."""


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """Recipes to measure, and the SAE of the other arms."""

    main: Recipe
    """The recipe to measure, with its gates and without."""
    ungated: Recipe | None = None
    """Recipe to run without gates; None takes `main` without its own."""
    contrast: Recipe | None = None
    """Recipe found by contrast."""
    dense: Recipe | None = None
    """Recipe that pushes by a learned vector."""
    constant: Recipe | None = None
    """Recipe of constants, which the part beams measures in hooks and, baked in, in faster-whisper."""
    sae: SAE | None = None
    """SAE of the arms that need one; None takes that of `main`."""
    layer: int | None = None
    """Encoder layer of the SAE, counted from 1; None takes that of `main`."""


def check(settings: BenchSettings, data: BenchData) -> None:
    """Refuse settings and clips that cannot be run.

    Raises:
        SteeringError: an unknown part or mode, a number of beams below 1, or clips of one kind are missing.
    """
    if settings.beams and min(settings.beams) < 1:
        raise SteeringError(f"numbers of beams are 1, which is greedy, or more; got {min(settings.beams)}")
    parts = (*PARTS, MIXED_PART, BEAM_PART)
    for what, given, known in (("part", settings.parts, parts), ("mode", settings.modes, tuple(MODES))):
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise SteeringError(f"unknown {what} {unknown[0] if unknown else '(none)'!r}; expected {', '.join(known)}")
    if not data.absent or not data.present:
        raise SteeringError("the benchmark needs clips without speech, and clips with speech")


def sae_of(recipes: Recipes) -> tuple[SAE | None, int | None]:
    """The SAE of the arms that need one, and its encoder layer; None without an SAE.

    Raises:
        SteeringError: it is not known which layer it reads.
    """
    if recipes.sae is not None:
        layer = recipes.layer or recipes.sae.info.get("layer")
        if layer is None:
            raise SteeringError("say which encoder layer the SAE reads")
        return recipes.sae, int(layer)
    for spec in recipes.main.sites:
        if spec.side == "encoder" and spec.sae is not None:
            return recipes.main.load_saes()[spec.sae], spec.layer
    return None, None
