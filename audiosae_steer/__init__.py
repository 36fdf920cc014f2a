"""Steer audio models while they run, through the features of a sparse autoencoder.

model = whisper.load_model("tiny.en")
audiosae_steer.steer(model, "no-false-speech")        # model.transcribe() works as before
"""

from __future__ import annotations

from .build import SiteEdits, SiteGate
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
from .recipes import Recipe, load_recipe, recipes
from .sae import SAE, Gate, Normalisation
from .sites import Site
from .steering import Steering, steer

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
    "load_audio",
    "load_processor",
    "load_recipe",
    "load_sae",
    "load_whisper",
    "recipes",
    "save_sae",
    "steer",
]
