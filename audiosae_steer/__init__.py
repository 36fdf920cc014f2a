"""Steer audio models while they run, through the features of a sparse autoencoder.

model = whisper.load_model("tiny.en")
audiosae_steer.steer(model, "no-false-speech")        # model.transcribe() works as before
"""

from __future__ import annotations

import typing as _typing

from .clip_gate import ClipGate
from .edits import Ablate, Add, Clamp, Edit, Push, Scale, Set
from .errors import (
    AudioError,
    AudioSAESteerError,
    AudioSAESteerWarning,
    CheckpointError,
    EditError,
    FingerprintWarning,
    GateError,
    HubError,
    MissingExtraError,
    ModelError,
    NeverCalledWarning,
    RecipeError,
    RecipeNotFoundError,
    SiteError,
    SteeringError,
    ThresholdWarning,
    UnknownModelError,
)
from .formats import load_sae, save_sae
from .frame_gate import FrameGate
from .models import load_audio, load_processor, load_whisper
from .parts import SiteEdits, SiteGate
from .recipes import Recipe, load_recipe, recipes
from .sae import SAE, Gate, Normalisation
from .sites import Site
from .steering import Steering, steer

if _typing.TYPE_CHECKING:
    from .discover import calibrate, learn, make_no_false_speech

__version__ = "0.1.0"

__all__ = [
    "SAE",
    "Ablate",
    "Add",
    "AudioError",
    "AudioSAESteerError",
    "AudioSAESteerWarning",
    "CheckpointError",
    "Clamp",
    "ClipGate",
    "Edit",
    "EditError",
    "FingerprintWarning",
    "FrameGate",
    "Gate",
    "GateError",
    "HubError",
    "MissingExtraError",
    "ModelError",
    "NeverCalledWarning",
    "Normalisation",
    "Push",
    "Recipe",
    "RecipeError",
    "RecipeNotFoundError",
    "Scale",
    "Set",
    "Site",
    "SiteEdits",
    "SiteError",
    "SiteGate",
    "Steering",
    "SteeringError",
    "ThresholdWarning",
    "UnknownModelError",
    "calibrate",
    "learn",
    "load_audio",
    "load_processor",
    "load_recipe",
    "load_sae",
    "load_whisper",
    "make_no_false_speech",
    "recipes",
    "save_sae",
    "steer",
]

_LATER = ("calibrate", "learn", "make_no_false_speech")
"""What is imported when it is asked for; `discover`, the fourth step, is in the package of that name."""


def __getattr__(name: str) -> _typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import discover

    return getattr(discover, name)
