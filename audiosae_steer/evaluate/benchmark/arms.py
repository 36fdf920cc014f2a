"""Arms of the benchmark: ways to make a Whisper write less text on non-speech, each as one small object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from ...errors import SteeringError
from ...models.families.empty_text import always
from ...models.families.whisper_mel import Pad
from ...models.registry import family_of
from ...steering.edits import Push
from ...steering.recipes.schema import Recipe
from ...steering.site_edits import SiteEdits
from ...steering.steering import Steering, steer
from ..transcription.from_residuals import Written

STRENGTHS = (0.5, 0.75, 1.0, 1.25)
"""Of what a recipe states, for arms that are curves."""
VAD_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BUDGETS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Shares of speech clips that a tuned threshold may blank."""
NOTES: Any = {"name": True, "provenance": True, "measured": True, "description": True} | {
    part: {"calibration"} for part in ("gate", "frame_gate", "timestamp_gate")
}
"""Fields by which a recipe describes itself, which change no text."""

LABELS = {
    "unsteered": "unsteered",
    "reconstruction": "reconstruction only",
    "random": "random features",
    "mean-difference": "difference of means",
    "audiosae-max": "AudioSAE, max-pooled",
    "audiosae-mean": "AudioSAE, mean-pooled",
    "typical-shift": "typical-scaled shift",
    "contrast": "ours, by contrast, ungated",
    "learned": "ours, learned, ungated",
    "dense": "learned dense vector",
    "clip-gated": "ours, clip gate",
    "frame-gated": "ours, frame gate",
    "both-gated": "ours, clip and frame gate",
    "gate-alone": "clip gate alone",
    "no-speech-prob": "tuned no_speech_prob",
    "avg-logprob": "tuned avg_logprob",
    "vad": "Silero VAD",
    "vad-ours": "Silero VAD + ours gated",
}
"""Curves in the order of tables; a curve is one way at several strengths or thresholds.

Published results hold their names and labels, so that "ours", which stands for this package, stays in both.
"""


By = Literal["opened", "no_speech_prob", "avg_logprob", "vad"]


class Mode(NamedTuple):
    """Padding and decoding of a clip."""

    name: str
    """Name for tables and caches."""
    pad: Pad
    """Padding to 30 s."""
    timestamps: bool
    """True if the model writes them."""
    allow_empty: bool | None
    """True if an empty text is allowed; None takes the arm's own setting."""


TIMED = Mode("timed", "zeros", True, None)
"""As `whisper.transcribe` does by default."""
UNTIMED = Mode("untimed", "silence", False, True)
"""As `whisper.decode(without_timestamps=True)`, with an empty text allowed in every arm."""
STRICT = Mode("untimed-strict", "silence", False, False)
"""The same with the empty text forbidden, as Whisper does it: only masks can write nothing."""


@dataclass(frozen=True)
class Steered:
    """An arm that decodes: a recipe, edits by hand, or neither."""

    name: str
    """Of this arm, unique."""
    curve: str
    """A key of LABELS."""
    at: str = ""
    """Its place on the curve, in words."""
    recipe: Recipe | None = None
    sites: tuple[SiteEdits, ...] = ()
    strength: float | None = None
    """None takes the recipe's."""
    marked: bool = True
    """True for the operating point of its curve, which the smaller parts measure too."""
    sampled: bool = False
    """True if it is measured on a sample of the clips only."""

    @property
    def label(self) -> str:
        """Name for tables."""
        return f"{LABELS[self.curve]} {self.at}".rstrip()

    @property
    def layer(self) -> int | None:
        """The lowest encoder layer that it reads or edits; None if it touches none."""
        parts: list[Any] = [part.site for part in self.sites]
        if self.recipe is not None:
            parts += [*self.recipe.sites, *self.recipe.gates]
        return min((part.layer for part in parts if part.side == "encoder"), default=None)

    @cached_property
    def key(self) -> str:
        """Changes with everything that its texts depend on besides model, clips and mode."""
        digest = hashlib.sha256(repr(self.strength).encode())
        if self.recipe is not None:
            digest.update(json.dumps(self.recipe.model_dump(mode="json", exclude=NOTES), sort_keys=True).encode())
            if any(spec.sha256 is None for spec in self.recipe.saes.values()):
                for _, sae in sorted(self.recipe.load_saes().items()):
                    digest.update(sae.digest().encode())
        for part in self.sites:
            steps = "" if part.steps == "all" else f" {part.steps}"
            digest.update(f"{part.site} {part.error} {part.sae and part.sae.digest()}{steps}".encode())
            for edit in _edits(part):
                if isinstance(edit, Push):
                    digest.update(f"push {edit.amount} {edit.window}".encode() + edit.vector.numpy().tobytes())
                else:
                    digest.update(repr(edit).encode())
        return digest.hexdigest()[:12]

    @contextmanager
    def on(self, model: Any, mode: Mode) -> Iterator[Steering | None]:
        """The model with this arm on it, for the length of a block."""
        if self.recipe is None and not self.sites:
            close = family_of(model).allow_empty(model, always) if mode.allow_empty else None
            try:
                yield None
            finally:
                if close is not None:
                    close()
            return
        what = self.recipe if self.recipe is not None else list(self.sites)
        with steer(model, what, strength=self.strength, allow_empty=mode.allow_empty) as steering:
            yield steering


@dataclass(frozen=True)
class Masked:
    """An arm that decodes nothing of its own: where something says "no speech", another arm's text is dropped."""

    name: str
    curve: str
    at: str = ""
    of: str = "unsteered"
    """The arm whose texts it takes."""
    by: By = "vad"
    """Criterion: a clip gate that opens, or a score beyond the threshold."""
    reads: str = "unsteered"
    """The arm whose gate or probabilities decide."""
    threshold: Mapping[str, float] = field(default_factory=dict)
    """By mode: blanked if `score` is above it."""
    marked: bool = True
    sampled: bool = False

    @property
    def label(self) -> str:
        """Name for tables."""
        return f"{LABELS[self.curve]} {self.at}".rstrip()

    def blanks(self, mode: str, read: Sequence[Written], speech: Sequence[float] | None = None) -> list[bool]:
        """Flags of the clips that it gives no text.

        Args:
            mode: its name.
            read: texts of the arm that it `reads`.
            speech: the VAD's highest probability of each, if that decides.
        """
        if self.by == "opened":
            return [bool(one.opened) for one in read]
        return [score > self.threshold[mode] for score in silence_scores(self.by, read, speech)]

    def mask(self, texts: Sequence[Written], blanks: Sequence[bool]) -> list[Written]:
        """The texts, and nothing where it blanks: such a clip counts as one without speech by every measure."""
        return [
            one._replace(text="", filtered="", tokens=(), no_speech_prob=1.0) if blank else one
            for one, blank in zip(texts, blanks, strict=True)
        ]


Arm = Steered | Masked


def silence_scores(by: By, read: Sequence[Written], speech: Sequence[float] | None = None) -> list[float]:
    """Scores of non-speech, the higher the surer: no_speech_prob, −avg_logprob, or −(the VAD's probability)."""
    if by == "vad":
        if speech is None:
            raise SteeringError("this arm is decided by a VAD; give its probabilities")
        return [-probability for probability in speech]
    return [one.no_speech_prob if by == "no_speech_prob" else -one.avg_logprob for one in read]


def tuned_threshold(scores: Sequence[float], budget: float) -> float:
    """The lowest threshold that no more than a share `budget` of these scores of speech clips exceed.

    Raises:
        SteeringError: there are no scores, or the budget is no share below 1.
    """
    if not len(scores) or not 0 <= budget < 1:
        raise SteeringError(f"a threshold needs scores of speech clips, and a budget from 0 to below 1, not {budget}")
    return sorted(scores, reverse=True)[int(budget * len(scores))]


def recipe_arms(
    recipe: Recipe,
    *,
    ungated: Recipe | None = None,
    contrast: Recipe | None = None,
    dense: Recipe | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> list[Arm]:
    """The arms that recipes make: ungated curves, the gates that the recipe has, and its clip gate alone.

    Args:
        recipe: the one to measure.
        ungated: the one to run without gates; None takes `recipe`.
        contrast: a recipe found by contrast.
        dense: a recipe that pushes by a learned vector.
        strengths: of the ungated curves, as multiples of each recipe's own strength; 1 is marked.
    """
    arms: list[Arm] = []
    for curve, given in (("contrast", contrast), ("learned", ungated or recipe), ("dense", dense)):
        if given is None:
            continue
        bare = given.model_copy(update={"gate": None, "frame_gate": None, "timestamp_gate": None})
        steps = strengths if curve != "contrast" else (1.0,)
        for step in sorted({*steps, 1.0}):
            at = f"× {step:g}" if len(steps) > 1 else ""
            arms.append(
                Steered(f"{curve}-{step:g}", curve, at, bare, strength=given.strength * step, marked=step == 1.0)
            )
    if recipe.gate is not None:
        arms.append(Steered("clip-gated", "clip-gated", recipe=recipe.model_copy(update={"frame_gate": None})))
        arms.append(Masked("gate-alone", "gate-alone", by="opened", reads="clip-gated"))
    if recipe.frame_gate is not None:
        arms.append(Steered("frame-gated", "frame-gated", recipe=recipe.model_copy(update={"gate": None})))
    if recipe.gate is not None and recipe.frame_gate is not None:
        arms.append(Steered("both-gated", "both-gated", recipe=recipe))
    return arms


def only_masks(arm: Arm) -> bool:
    """An arm that never decodes with an edit: with the empty text forbidden, all others write something always."""
    return arm.name == "unsteered" or (isinstance(arm, Masked) and arm.of == "unsteered")


def vad_arms(arms: Sequence[Arm], modes: Sequence[str]) -> list[Arm]:
    """Silero VAD clip by clip, at several thresholds, and before the gated recipe."""
    found: list[Arm] = []
    for threshold in VAD_THRESHOLDS:
        at = dict.fromkeys(modes, -threshold)
        default = threshold == 0.5
        found.append(Masked(f"vad-{threshold:g}", "vad", f"{threshold:g}", threshold=at, marked=default))
    gated = gated_arm(arms)
    if gated is not None:
        found.append(Masked("vad-ours", "vad-ours", of=gated, threshold=dict.fromkeys(modes, -0.5)))
    return found


def gated_arm(arms: Sequence[Arm]) -> str | None:
    """Name of the arm that stands for the gated recipe: by clip if it can, else by frame; None without a gate."""
    names = {arm.name for arm in arms}
    return next((name for name in ("clip-gated", "frame-gated") if name in names), None)


def tuned_arms(scores: Mapping[str, Mapping[str, Sequence[float]]], budget: float) -> list[Arm]:
    """Thresholds on Whisper's own estimates, tuned on speech clips that are not for testing by the share they blank.

    Args:
        scores: by what decides, `no_speech_prob` or `avg_logprob`, and mode: `silence_scores` of those speech clips.
        budget: the share that is marked.
    """
    found: list[Arm] = []
    ways: tuple[tuple[By, str], ...] = (("no_speech_prob", "no-speech-prob"), ("avg_logprob", "avg-logprob"))
    for by, curve in ways:
        for share in sorted({*BUDGETS, budget}):
            at = {mode: tuned_threshold(values, share) for mode, values in scores[by].items()}
            name = f"{curve}-{share:g}"
            found.append(Masked(name, curve, f"{share:.1%}", by=by, threshold=at, marked=share == budget))
    return found


def _edits(part: SiteEdits) -> list[Any]:
    given = part.edits
    return [edit for name in given for edit in given[name]] if isinstance(given, Mapping) else list(given)
