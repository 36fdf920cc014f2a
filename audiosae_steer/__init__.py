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
    BakedWarning,
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
    UnpinnedWarning,
)
from .formats import load_sae, save_sae
from .frame_gate import FrameGate
from .listing import SiteInfo, list_sites
from .models import load_audio, load_model, load_processor, load_whisper
from .parts import SiteEdits, SiteGate
from .recipes import Recipe, load_recipe, recipes
from .sae import SAE, Gate, Normalisation
from .sites import Site
from .sound import edit_audio, steer_latents
from .steering import Steering, steer

if _typing.TYPE_CHECKING:
    from .catalogue import search
    from .discover import calibrate, learn, make_no_false_speech
    from .discover.collect import collect
    from .publishing import publish

__version__ = "0.1.0"

__all__ = [
    "SAE",
    "Ablate",
    "Add",
    "AudioError",
    "AudioSAESteerError",
    "AudioSAESteerWarning",
    "BakedWarning",
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
    "SiteInfo",
    "Steering",
    "SteeringError",
    "ThresholdWarning",
    "UnknownModelError",
    "UnpinnedWarning",
    "calibrate",
    "collect",
    "edit_audio",
    "learn",
    "list_sites",
    "load_audio",
    "load_model",
    "load_processor",
    "load_recipe",
    "load_sae",
    "load_whisper",
    "make_no_false_speech",
    "publish",
    "recipes",
    "save_sae",
    "search",
    "steer",
    "steer_latents",
]

_LATER = {
    "calibrate": ".discover",
    "collect": ".discover.collect",
    "learn": ".discover",
    "make_no_false_speech": ".discover",
    "publish": ".publishing",
    "search": ".catalogue",
}
"""What is imported when it is asked for, and from where; `discover` is in the package of that name."""


def __getattr__(name: str) -> _typing.Any:
    import importlib

    if name == "nnsight":  # audiosae_steer.nnsight.apply(...) needs no import of its own
        return importlib.import_module(".nnsight", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)
