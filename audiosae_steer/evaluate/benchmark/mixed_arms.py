"""Arms of the mixed part: ways to transcribe recordings in which speech and noise alternate, and their controls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

from ...steering.recipes.schema import Recipe
from ...steering.steering import steer
from ..transcription.decoding import FALLBACK, Decoding
from .arms import NOTES

Variant = Literal["mixed", "silent", "cut"]
SILENCE_THRESHOLD = 2.0
"""Seconds, as openai-whisper's authors suggest."""


@dataclass(frozen=True, kw_only=True)
class MixedArm:
    """One way to transcribe."""

    name: str
    """For tables and caches."""
    variant: Variant = "mixed"
    """The recording, or a control."""
    vad: bool = False
    """Silero VAD before the model, as faster-whisper runs it."""
    recipes: tuple[Recipe, ...] = ()
    """Steerings, one after the other."""
    decoding: Decoding = field(default_factory=Decoding)

    @property
    def key(self) -> str:
        """Digest of everything that changes its texts."""
        used = [json.dumps(recipe.model_dump(mode="json", exclude=NOTES), sort_keys=True) for recipe in self.recipes]
        content = [self.variant, self.vad, asdict(self.decoding), used]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @contextmanager
    def on(self, model: Any) -> Iterator[None]:
        """The model under its steerings."""
        with ExitStack() as stack:
            for recipe in self.recipes:
                stack.enter_context(steer(model, recipe))
            yield


def installed(arms: Sequence[MixedArm]) -> list[MixedArm]:
    """The arms without those that need a VAD, unless faster-whisper is installed, which brings it."""
    return [arm for arm in arms if not arm.vad or find_spec("faster_whisper") is not None]


def decoding_as_it_comes(language: str | None = "en", beams: int = 1, **options: Any) -> Decoding:
    """Options of `whisper.transcribe` by default: timestamps, filters, fallbacks; no text of before as a prompt."""
    return Decoding(language=language, filters=True, temperatures=FALLBACK, beam_size=beams, **options)


def mixed_arms(recipes: Sequence[Recipe], decoding: Decoding) -> list[MixedArm]:
    """Unsteered, its controls, what users would take instead, and every recipe without and behind VAD.

    Args:
        recipes: those to measure.
        decoding: of all arms.
    """
    guarded = Decoding(**{**asdict(decoding), "word_timestamps": True, "silence_threshold": SILENCE_THRESHOLD})
    return [
        MixedArm(name="unsteered", decoding=decoding),
        MixedArm(name="gaps silent", variant="silent", decoding=decoding),
        MixedArm(name="gaps cut out", variant="cut", decoding=decoding),
        MixedArm(name="Silero VAD", vad=True, decoding=decoding),
        MixedArm(name="hallucination_silence_threshold", decoding=guarded),
        *(MixedArm(name=recipe.name, recipes=(recipe,), decoding=decoding) for recipe in recipes),
        *(MixedArm(name=f"Silero VAD + {each.name}", vad=True, recipes=(each,), decoding=decoding) for each in recipes),
    ]
